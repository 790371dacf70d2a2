"""The public endpoint of the function, one of four kinds. Knows origins; knows no route, no token and no store.

url                 a function URL that streams, with nothing in front of it and no extra cost (the default)
cloudfront          CloudFront in front of that URL, for a domain or a firewall (infra/ingress/cloudfront.py)
cloudfront-signed   the same, with requests that CloudFront signs instead of a secret header
apigw               API Gateway's REST API in streaming mode (infra/ingress/rest_api.py)
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

PREFLIGHT_S = 3600  # how long a browser may cache a preflight; Chromium caps it at two hours

REQUEST_HEADERS = ["authorization", "content-type", "x-chat-turn", "last-event-id", "chatkit-frame-instance-id"]
SIGNED_HEADERS = [TOKEN_HEADER, "x-amz-content-sha256"]  # if CloudFront signs, it overwrites Authorization
RESPONSE_HEADERS = ["x-chat-turn", "x-request-id", "retry-after"]


class FrontDoor(Construct):
    """The endpoint that the stage chose. `url` ends with a slash; the two metrics count its 4xx and 5xx responses.

    The app authenticates callers by their token, because ChatKit's browser client cannot sign requests with SigV4.
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
            case "cloudfront" | "cloudfront-signed":
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
    """A streaming URL on the alias. It is open to everyone unless CloudFront signs its requests.

    The URL alone answers CORS. Without `cors_origins`, only our own page may call.
    """
    signed = config.front_door == "cloudfront-signed"
    return alias.add_function_url(
        auth_type=lambda_.FunctionUrlAuthType.AWS_IAM if signed else lambda_.FunctionUrlAuthType.NONE,
        invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM,
        cors=_cors(config.cors_origins, [*REQUEST_HEADERS, *(SIGNED_HEADERS if signed else ())])
        if config.cors_origins
        else None,
    )


def _cors(origins: tuple[str, ...], headers: list[str]) -> lambda_.FunctionUrlCorsOptions:
    # No credentials: the token is in a header, and we set no cookies.
    return lambda_.FunctionUrlCorsOptions(
        allowed_origins=list(origins),
        allowed_methods=[lambda_.HttpMethod.GET, lambda_.HttpMethod.POST],
        allowed_headers=headers,
        exposed_headers=RESPONSE_HEADERS,
        max_age=Duration.seconds(PREFLIGHT_S),
    )


def _errors_of_the_url(alias: lambda_.Alias) -> tuple[cloudwatch.IMetric, cloudwatch.IMetric]:
    """The metrics of 4xx and 5xx responses."""
    period = Duration.minutes(5)
    client, server = (alias.metric(name, statistic="Sum", period=period) for name in ("Url4xxCount", "Url5xxCount"))
    return client, server
