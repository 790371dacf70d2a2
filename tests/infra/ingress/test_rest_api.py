"""infra/ingress/rest_api.py: API Gateway as front door: streaming, CORS preflights, throttling and access logs."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.commands import template
from tests.infra import template_files
from tests.infra.conftest import StackOf

METHOD = "AWS::ApiGateway::Method"


@pytest.fixture(scope="module")
def rest(api_of: StackOf) -> Template:
    return api_of("apigw")


def test_every_path_is_proxied_to_the_function_and_the_response_is_streamed(rest: Template) -> None:
    streaming = {
        "HttpMethod": "ANY",
        "Integration": Match.object_like({"Type": "AWS_PROXY", "ResponseTransferMode": "STREAM"}),
    }
    rest.resource_properties_count_is(METHOD, streaming, 2)
    uris = [m["Properties"]["Integration"].get("Uri") for m in rest.find_resources(METHOD).values()]
    assert sum("/response-streaming-invocations" in json.dumps(uri) for uri in uris) == 2


def test_the_integration_timeout_equals_the_function_timeout(rest: Template) -> None:
    integration = Match.object_like({"TimeoutInMillis": 300_000})
    rest.resource_properties_count_is(METHOD, {"HttpMethod": "ANY", "Integration": integration}, 2)


def test_api_gateway_answers_preflights_for_exact_origins(rest: Template) -> None:
    rest.resource_properties_count_is(METHOD, {"HttpMethod": "OPTIONS"}, 2)
    preflights = [m for m in rest.find_resources(METHOD).values() if m["Properties"]["HttpMethod"] == "OPTIONS"]
    text = json.dumps(preflights)
    assert "https://www.example.org" in text
    assert "https://example.org" in text
    assert "'*'" not in text


def test_the_api_is_regional_because_an_edge_endpoint_would_cut_streams(rest: Template) -> None:
    rest.has_resource_properties("AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}})


def test_the_stage_is_throttled(rest: Template) -> None:
    settings = [Match.object_like({"ThrottlingBurstLimit": 100, "ThrottlingRateLimit": 50})]
    rest.has_resource_properties("AWS::ApiGateway::Stage", {"MethodSettings": settings})


def test_nothing_bypasses_the_api(rest: Template) -> None:
    rest.resource_count_is("AWS::Lambda::Url", 0)
    principals = {p["Properties"]["Principal"] for p in rest.find_resources("AWS::Lambda::Permission").values()}
    assert principals == {"apigateway.amazonaws.com", "events.amazonaws.com"}


def test_the_function_gets_the_origins_for_its_cors_headers(rest: Template, api: Template) -> None:
    origins = {"CHAT_CORS_ORIGINS": "https://www.example.org,https://example.org"}
    rest.has_resource_properties("AWS::Lambda::Function", {"Environment": {"Variables": Match.object_like(origins)}})
    assert "CHAT_CORS_AT_URL" not in json.dumps(rest.to_json())
    at_url = {"CHAT_CORS_AT_URL": "true"}  # the function URL sends the headers itself
    api.has_resource_properties("AWS::Lambda::Function", {"Environment": {"Variables": Match.object_like(at_url)}})


def test_a_page_of_another_origin_can_read_errors_from_api_gateway_itself(rest: Template) -> None:
    properties = [r["Properties"] for r in rest.find_resources("AWS::ApiGateway::GatewayResponse").values()]
    responses = {p["ResponseType"]: p["ResponseParameters"] for p in properties}
    assert set(responses) == {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED"}
    for headers in responses.values():
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        assert headers["gatewayresponse.header.Cache-Control"] == "'no-store'"
    assert responses["THROTTLED"]["gatewayresponse.header.Retry-After"] == "'1'"


def test_an_enabled_access_log_records_ip_addresses_but_no_query_strings(rest: Template) -> None:
    [stage] = rest.find_resources("AWS::ApiGateway::Stage").values()
    setting = stage["Properties"]["AccessLogSetting"]
    line = json.loads(setting["Format"])
    assert line["ip"] == "$context.identity.sourceIp"
    assert set(line) == {"httpMethod", "ip", "requestId", "requestTime", "resourcePath", "responseLength", "status"}
    rest.has_resource_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_by_default_api_gateway_logs_nothing(context: dict[str, Any], tmp_path: Path) -> None:
    variant = template_files.variant(context, "plain", {"front_door": "apigw"})
    plain = Template.from_json(template.synthesize(variant, outdir=tmp_path)["chatkit-plain-api"])
    [stage] = plain.find_resources("AWS::ApiGateway::Stage").values()
    assert "AccessLogSetting" not in stage["Properties"]
    plain.resource_count_is("AWS::ApiGateway::Account", 0)
    plain.resource_count_is("AWS::ApiGateway::GatewayResponse", 0)
