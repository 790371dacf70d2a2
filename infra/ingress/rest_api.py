"""API Gateway's REST API as a streaming proxy to the function. Knows no route.

It sends events in payload format 1.0 and answers preflights itself; the app adds CORS headers to its own answers. API
Gateway's own errors (throttled, too large, timed out) get CORS headers here, because otherwise a page of another
origin would see a blocked request instead of a 429.
"""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.function import RETENTION
from infra.stage.config import StageConfig

STAGE = "live"  # part of the URL
BURST = 100  # requests at once; the account's own limit is 5,000
RATE_PER_S = 50
RETRY_AFTER_S = 1  # the throttle's bucket fills every second
LOG_WRITER = "arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
LOG_FORMAT = apigateway.AccessLogFormat.json_with_standard_fields(  # with the caller's address; no query, body or token
    caller=False,
    http_method=True,
    ip=True,
    protocol=False,
    request_time=True,
    resource_path=True,
    response_length=True,
    status=True,
    user=False,
)


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
        access_log = apigateway.LogGroupLogDestination(_access_log(self, config)) if config.access_logs else None
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"chatkit-{config.stage}",
            endpoint_types=[apigateway.EndpointType.REGIONAL],  # an edge-optimized one cuts streams after 30 s
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_burst_limit=BURST,
                throttling_rate_limit=RATE_PER_S,
                access_log_destination=access_log,
                access_log_format=LOG_FORMAT if access_log else None,
            ),
            # API Gateway writes logs with one role for all APIs of the account.
            cloud_watch_role=config.access_logs,
            default_cors_preflight_options=_preflight(config, headers, remember_s) if config.cors_origins else None,
        )
        if config.cors_origins:
            _answer_across_origins(api)
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
        _acknowledge(api, logged=config.access_logs)


def _answer_across_origins(api: apigateway.RestApi) -> None:
    """Add CORS headers to API Gateway's own answers. Any origin may read them: they contain only a status."""
    headers = {
        "Access-Control-Allow-Origin": "'*'",
        "Access-Control-Expose-Headers": "'retry-after'",
        "Cache-Control": "'no-store'",
    }
    types = apigateway.ResponseType
    for name, kind in (("Own4xx", types.DEFAULT_4_XX), ("Own5xx", types.DEFAULT_5_XX)):
        api.add_gateway_response(name, type=kind, response_headers=headers)
    throttled = {**headers, "Retry-After": f"'{RETRY_AFTER_S}'"}
    api.add_gateway_response("Throttled", type=types.THROTTLED, status_code="429", response_headers=throttled)


def _access_log(scope: Construct, config: StageConfig) -> logs.LogGroup:
    return logs.LogGroup(
        scope,
        "AccessLog",
        retention=RETENTION[config.log_retention_days],
        removal_policy=RemovalPolicy.DESTROY if config.disposable else RemovalPolicy.RETAIN,
    )


def _preflight(config: StageConfig, headers: list[str], remember_s: int) -> apigateway.CorsOptions:
    return apigateway.CorsOptions(
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=headers,
        max_age=Duration.seconds(remember_s),
    )


def _acknowledge(api: apigateway.RestApi, *, logged: bool) -> None:
    in_the_app = "Tokens are checked in the app, which answers each fault in words."
    in_the_log = "The function's log has a line for each request; `access_logs: true` adds API Gateway's own."
    reasons = {
        "AwsSolutions-APIG2": "Bodies are checked in the app against ChatKit's own types.",
        "AwsSolutions-APIG3": "A web ACL costs by the month; tokens, quotas and the throttle guard without.",
        "AwsSolutions-APIG4": in_the_app,
        "AwsSolutions-APIG6": in_the_log,
        "AwsSolutions-COG4": in_the_app,
        "Serverless-APIGWXrayEnabled": "A slow turn waits for the model, which X-Ray does not see.",
        "Serverless-APIGWDefaultThrottling": "Burst and rate are set for the stage as a whole.",
    }
    if logged:
        reasons[f"AwsSolutions-IAM4[Policy::{LOG_WRITER}]"] = "AWS's own policy for API Gateway's writing of logs."
    else:
        unlogged = ("AwsSolutions-APIG1", "Serverless-APIGWAccessLogging", "Serverless-APIGWStructuredLogging")
        reasons |= dict.fromkeys(unlogged, in_the_log)
    for rule, reason in reasons.items():
        Validations.of(api).acknowledge(Acknowledgment(id=rule, reason=reason))
