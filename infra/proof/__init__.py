"""`make prove`: deploys a stage to AWS, verifies it and destroys it."""
