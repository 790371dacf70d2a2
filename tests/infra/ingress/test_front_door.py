"""infra/ingress/front_door.py: the function URL, its permissions and CORS."""

from aws_cdk.assertions import Match, Template

URL = "AWS::Lambda::Url"


def test_the_url_streams_and_belongs_to_the_alias(api: Template) -> None:
    api.resource_count_is(URL, 1)
    api.has_resource_properties(URL, {"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM", "Qualifier": "live"})


def test_a_public_url_has_the_two_permissions_that_it_needs_and_no_other(api: Template) -> None:
    permission = "AWS::Lambda::Permission"
    public = [p for p in api.find_resources(permission).values() if p["Properties"]["Principal"] == "*"]
    assert len(public) == 2
    on_the_alias = {"Principal": "*", "FunctionName": {"Ref": Match.string_like_regexp("^ChatLive")}}
    by_url = {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"}
    api.has_resource_properties(permission, on_the_alias | by_url)
    through_url = {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}
    api.has_resource_properties(permission, on_the_alias | through_url)


def test_cors_allows_the_configured_origins_and_no_cookies(api: Template) -> None:
    cors = {
        "AllowOrigins": ["https://www.example.org"],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": [
            *("authorization", "content-type", "x-chat-turn", "last-event-id", "chatkit-frame-instance-id"),
        ],
        "ExposeHeaders": ["x-chat-turn", "x-request-id", "retry-after"],
        "MaxAge": 3600,
    }
    api.has_resource_properties(URL, {"Cors": cors})


def test_without_origins_there_is_no_cors(dev_api: Template) -> None:
    dev_api.has_resource_properties(URL, {"Cors": Match.absent()})


def test_the_api_stack_outputs_its_endpoint(api: Template) -> None:
    api.has_output("Endpoint", {"Value": {"Fn::GetAtt": [Match.any_value(), "FunctionUrl"]}})
