"""How requests reach the function: function URL, CloudFront, API Gateway."""
