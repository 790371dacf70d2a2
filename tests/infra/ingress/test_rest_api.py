"""infra/ingress/rest_api.py: API Gateway passes everything on, streams the answer, and answers preflights itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.commands import template
from tests.infra.conftest import StackOf

METHOD = "AWS::ApiGateway::Method"


@pytest.fixture(scope="module")
def rest(api_of: StackOf) -> Template:
    return api_of("apigw")


def test_every_path_goes_to_the_alias_and_comes_back_as_a_stream(rest: Template) -> None:
    streaming = {
        "HttpMethod": "ANY",
        "Integration": Match.object_like({"Type": "AWS_PROXY", "ResponseTransferMode": "STREAM"}),
    }
    rest.resource_properties_count_is(METHOD, streaming, 2)
    uris = [m["Properties"]["Integration"].get("Uri") for m in rest.find_resources(METHOD).values()]
    assert sum("/response-streaming-invocations" in json.dumps(uri) for uri in uris) == 2


def test_a_turn_may_last_as_long_here_as_in_the_function(rest: Template) -> None:
    integration = Match.object_like({"TimeoutInMillis": 300_000})
    rest.resource_properties_count_is(METHOD, {"HttpMethod": "ANY", "Integration": integration}, 2)


def test_preflights_are_answered_here_for_the_exact_origins(rest: Template) -> None:
    rest.resource_properties_count_is(METHOD, {"HttpMethod": "OPTIONS"}, 2)
    preflights = [m for m in rest.find_resources(METHOD).values() if m["Properties"]["HttpMethod"] == "OPTIONS"]
    text = json.dumps(preflights)
    assert "https://www.example.org" in text
    assert "https://example.org" in text
    assert "'*'" not in text


def test_the_api_is_regional_since_an_edge_one_would_cut_streams(rest: Template) -> None:
    rest.has_resource_properties("AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}})


def test_the_stage_is_throttled(rest: Template) -> None:
    settings = [Match.object_like({"ThrottlingBurstLimit": 100, "ThrottlingRateLimit": 50})]
    rest.has_resource_properties("AWS::ApiGateway::Stage", {"MethodSettings": settings})


def test_there_is_no_way_around_it(rest: Template) -> None:
    rest.resource_count_is("AWS::Lambda::Url", 0)
    principals = {p["Properties"]["Principal"] for p in rest.find_resources("AWS::Lambda::Permission").values()}
    assert principals == {"apigateway.amazonaws.com", "events.amazonaws.com"}


def test_the_function_is_told_for_whom_to_send_cors_headers(rest: Template, api: Template) -> None:
    origins = {"CHAT_CORS_ORIGINS": "https://www.example.org,https://example.org"}
    rest.has_resource_properties("AWS::Lambda::Function", {"Environment": {"Variables": Match.object_like(origins)}})
    assert "CHAT_CORS_ORIGINS" not in json.dumps(api.to_json())


def test_a_page_of_another_origin_can_read_what_api_gateway_answers_itself(rest: Template) -> None:
    own = [r["Properties"] for r in rest.find_resources("AWS::ApiGateway::GatewayResponse").values()]
    answers = {one["ResponseType"]: one["ResponseParameters"] for one in own}
    assert set(answers) == {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED"}
    for headers in answers.values():
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        assert headers["gatewayresponse.header.Cache-Control"] == "'no-store'"
    assert answers["THROTTLED"]["gatewayresponse.header.Retry-After"] == "'1'"


def test_the_access_log_has_addresses_and_no_query_and_only_where_a_stage_asks_for_it(rest: Template) -> None:
    [stage] = rest.find_resources("AWS::ApiGateway::Stage").values()
    setting = stage["Properties"]["AccessLogSetting"]
    line = json.loads(setting["Format"])
    assert line["ip"] == "$context.identity.sourceIp"
    assert set(line) == {"httpMethod", "ip", "requestId", "requestTime", "resourcePath", "responseLength", "status"}
    rest.has_resource_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_without_that_choice_api_gateway_keeps_nothing(context: dict[str, Any], tmp_path: Path) -> None:
    asked = template.variant(context, "plain", {"front_door": "apigw"})
    plain = Template.from_json(template.synthesize(asked, outdir=tmp_path)["chatkit-plain-api"])
    [stage] = plain.find_resources("AWS::ApiGateway::Stage").values()
    assert "AccessLogSetting" not in stage["Properties"]
    plain.resource_count_is("AWS::ApiGateway::Account", 0)
    plain.resource_count_is("AWS::ApiGateway::GatewayResponse", 0)
