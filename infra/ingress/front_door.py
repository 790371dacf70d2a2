"""How the world reaches the function: one of three doors. Knows origins; knows no route, no token and no store.

url          a function URL that streams: nothing in front, nothing to pay (the default)
cloudfront   CloudFront before that URL: a name of your own, a firewall (infra/ingress/cloudfront.py)
apigw        API Gateway's REST API in streaming mode (infra/ingress/rest_api.py)
"""

from typing import assert_never

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.ingress.cloudfront import Distribution, Edge
from infra.ingress.origin_secrets import OriginSecrets
from infra.ingress.rest_api import StreamingRestApi
from infra.stage.config import StageConfig
from infra.stage.environment import TOKEN_HEADER

PREFLIGHT_S = 3600  # how long a browser may remember a preflight; Chromium caps it at two hours

REQUEST_HEADERS = ["authorization", "content-type", "x-chat-turn", "last-event-id", "chatkit-frame-instance-id"]
SIGNED_HEADERS = [TOKEN_HEADER, "x-amz-content-sha256"]  # where CloudFront signs: Authorization is its own
RESPONSE_HEADERS = ["x-chat-turn", "x-request-id", "retry-after"]


class FrontDoor(Construct):
    """The door that the stage chose. `url` ends with a slash; the errors count what it answered with a 4xx or a 5xx.

    Who calls is checked in the app, by their token: ChatKit's browser client cannot sign requests with SigV4.
    """

    url: str
    client_errors: cloudwatch.IMetric
    server_errors: cloudwatch.IMetric

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        alias: lambda_.Alias,
        secrets: OriginSecrets | None,
        edge: Edge,
    ) -> None:
        super().__init__(scope, construct_id)
        match config.front_door:
            case "url":
                self.url = function_url(alias, config).url
                self.client_errors, self.server_errors = _errors_of_the_url(alias)
            case "cloudfront":
                behind = function_url(alias, config)
                distribution = Distribution(self, "Cdn", config=config, behind=behind, secrets=secrets, edge=edge)
                self.url = distribution.url
                self.client_errors, self.server_errors = _errors_of_the_url(alias)
            case "apigw":
                api = StreamingRestApi(
                    self, "Rest", config=config, alias=alias, headers=REQUEST_HEADERS, remember_s=PREFLIGHT_S
                )
                self.url, self.client_errors, self.server_errors = api.url, api.client_errors, api.server_errors
            case _:
                assert_never(config.front_door)


def function_url(alias: lambda_.Alias, config: StageConfig) -> lambda_.FunctionUrl:
    """A URL on the alias that answers as a stream; open to everyone, unless CloudFront is to sign what it sends.

    CORS is answered here and nowhere else. Without `cors_origins` no page but our own may call.
    """
    signed = config.origin_access == "iam"
    return alias.add_function_url(
        auth_type=lambda_.FunctionUrlAuthType.AWS_IAM if signed else lambda_.FunctionUrlAuthType.NONE,
        invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM,
        cors=_cors(config.cors_origins, [*REQUEST_HEADERS, *(SIGNED_HEADERS if signed else ())])
        if config.cors_origins
        else None,
    )


def _cors(origins: tuple[str, ...], headers: list[str]) -> lambda_.FunctionUrlCorsOptions:
    # No credentials: the token travels in a header, and a cookie of ours does not exist.
    return lambda_.FunctionUrlCorsOptions(
        allowed_origins=list(origins),
        allowed_methods=[lambda_.HttpMethod.GET, lambda_.HttpMethod.POST],
        allowed_headers=headers,
        exposed_headers=RESPONSE_HEADERS,
        max_age=Duration.seconds(PREFLIGHT_S),
    )


def _errors_of_the_url(alias: lambda_.Alias) -> tuple[cloudwatch.IMetric, cloudwatch.IMetric]:
    """What callers did wrong, and what we did."""
    period = Duration.minutes(5)
    client, server = (alias.metric(name, statistic="Sum", period=period) for name in ("Url4xxCount", "Url5xxCount"))
    return client, server
