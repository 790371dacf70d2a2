"""API Gateway's REST API, passing everything to the function and its answer back as a stream. Knows no route.

It delivers payload 1.0, and answers preflights itself; the CORS headers of an answer are the app's to send.
"""

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.config import StageConfig

STAGE = "live"  # part of the URL
BURST = 100  # requests at once; the account's own limit is 5,000
RATE_PER_S = 50


class StreamingRestApi(Construct):
    """`url` ends with a slash and names the API's stage; the errors count its 4xx and 5xx."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        alias: lambda_.Alias,
        headers: list[str],
        remember_s: int,
    ) -> None:
        super().__init__(scope, construct_id)
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"chatkit-{config.stage}",
            endpoint_types=[apigateway.EndpointType.REGIONAL],  # an edge-optimized one cuts streams after 30 s
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE, throttling_burst_limit=BURST, throttling_rate_limit=RATE_PER_S
            ),
            default_cors_preflight_options=_preflight(config, headers, remember_s) if config.cors_origins else None,
        )
        integration = apigateway.LambdaIntegration(
            alias,
            response_transfer_mode=apigateway.ResponseTransferMode.STREAM,
            timeout=Duration.seconds(config.timeout_s),
            allow_test_invoke=False,
        )
        api.root.add_method("ANY", integration)
        api.root.add_proxy(default_integration=integration)
        self.url = api.url
        period = Duration.minutes(5)
        self.client_errors: cloudwatch.IMetric = api.metric_client_error(statistic="Sum", period=period)
        self.server_errors: cloudwatch.IMetric = api.metric_server_error(statistic="Sum", period=period)
        _acknowledge(api)


def _preflight(config: StageConfig, headers: list[str], remember_s: int) -> apigateway.CorsOptions:
    return apigateway.CorsOptions(
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=headers,
        max_age=Duration.seconds(remember_s),
    )


def _acknowledge(api: apigateway.RestApi) -> None:
    in_the_app = "Tokens are checked in the app, which answers each fault in words."
    logged = "The function's log has a line for each request, without what people wrote."
    reasons = {
        "AwsSolutions-APIG1": logged,
        "AwsSolutions-APIG2": "Bodies are checked in the app against ChatKit's own types.",
        "AwsSolutions-APIG3": "A web ACL costs by the month; tokens, quotas and the throttle guard without.",
        "AwsSolutions-APIG4": in_the_app,
        "AwsSolutions-APIG6": logged,
        "AwsSolutions-COG4": in_the_app,
        "Serverless-APIGWAccessLogging": logged,
        "Serverless-APIGWXrayEnabled": "A slow turn waits for the model, which X-Ray does not see.",
        "Serverless-APIGWStructuredLogging": logged,
        "Serverless-APIGWDefaultThrottling": "Burst and rate are set for the stage as a whole.",
    }
    for rule, reason in reasons.items():
        Validations.of(api).acknowledge(Acknowledgment(id=rule, reason=reason))
