"""How the world reaches the function: a URL that streams. Knows origins; knows no route, no token and no store."""

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

PREFLIGHT_S = 3600  # how long a browser may remember a preflight; Chromium caps it at two hours

REQUEST_HEADERS = ["authorization", "content-type", "x-chat-turn"]
RESPONSE_HEADERS = ["x-chat-turn", "x-request-id"]


class FrontDoor(Construct):
    """A function URL on the alias, answering as a stream to everyone: who calls is checked in the app, by their token.

    AuthType NONE, since ChatKit's browser client cannot sign requests with SigV4.
    CORS is answered here and nowhere else. Without `cors_origins` no page but our own may call.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, alias: lambda_.Alias, cors_origins: tuple[str, ...]
    ) -> None:
        super().__init__(scope, construct_id)
        function_url = alias.add_function_url(
            auth_type=lambda_.FunctionUrlAuthType.NONE,
            invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM,
            cors=_cors(cors_origins) if cors_origins else None,
        )
        self.url = function_url.url


def _cors(origins: tuple[str, ...]) -> lambda_.FunctionUrlCorsOptions:
    # No credentials: the token travels in a header, and a cookie of ours does not exist.
    return lambda_.FunctionUrlCorsOptions(
        allowed_origins=list(origins),
        allowed_methods=[lambda_.HttpMethod.GET, lambda_.HttpMethod.POST],
        allowed_headers=REQUEST_HEADERS,
        exposed_headers=RESPONSE_HEADERS,
        max_age=Duration.seconds(PREFLIGHT_S),
    )
