"""CloudFront as front door (infra/ingress/cloudfront.py, origin_secrets.py, infra/stacks/edge.py): caching, headers,
origin secrets, signing, domain and firewall."""

import json
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.stacks.edge import RULES_ABOUT_BODIES
from tests.infra.conftest import StackOf, Templates

DISTRIBUTION = "AWS::CloudFront::Distribution"
URL = "AWS::Lambda::Url"


@pytest.fixture(scope="module")
def front(api_of: StackOf) -> Template:
    return api_of("cloudfront")


@pytest.fixture(scope="module")
def edge(variants: dict[str, Templates]) -> Template:
    return Template.from_json(variants["cloudfront-named"]["chatkit-cloudfront-named-edge"])


def _distribution(stack: Template) -> dict[str, Any]:
    [distribution] = stack.find_resources(DISTRIBUTION).values()
    config: dict[str, Any] = distribution["Properties"]["DistributionConfig"]
    return config


def test_no_response_is_cached_or_compressed(front: Template) -> None:
    behavior = _distribution(front)["DefaultCacheBehavior"]
    caching_disabled = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    assert (behavior["CachePolicyId"], behavior["Compress"]) == (caching_disabled, False)


def test_files_with_a_hash_in_their_names_are_cached_and_compressed(front: Template) -> None:
    [behavior] = _distribution(front)["CacheBehaviors"]
    caching_optimized = "658327ea-f89d-4fab-a63d-7e88639e58f6"
    assert (behavior["PathPattern"], behavior["CachePolicyId"]) == ("static/*", caching_optimized)
    assert behavior["Compress"] is True
    assert "AllowedMethods" not in behavior, "CloudFront's default is GET and HEAD"
    assert behavior["TargetOriginId"] == _distribution(front)["DefaultCacheBehavior"]["TargetOriginId"]


def test_every_header_but_host_reaches_the_function_including_authorization(front: Template) -> None:
    all_viewer_except_host_header = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
    behavior = _distribution(front)["DefaultCacheBehavior"]
    assert behavior["OriginRequestPolicyId"] == all_viewer_except_host_header
    assert "POST" in behavior["AllowedMethods"]


def test_cloudfront_sends_the_newest_secret_by_reference(front: Template) -> None:
    [origin] = _distribution(front)["Origins"]
    [header] = origin["OriginCustomHeaders"]
    assert header["HeaderName"] == "x-origin-secret"
    reference = json.dumps(header["HeaderValue"])
    assert "{{resolve:secretsmanager:" in reference
    assert "OriginGeneration2" in reference


def test_the_function_accepts_the_newest_and_the_previous_secret_and_may_read_no_other(front: Template) -> None:
    names = set(front.find_resources("AWS::SecretsManager::Secret"))
    assert {name[:17] for name in names} == {"OriginGeneration1", "OriginGeneration2"}
    [function] = front.find_resources("AWS::Lambda::Function").values()
    accepted = json.dumps(function["Properties"]["Environment"]["Variables"]["CHAT_ORIGIN_SECRETS"])
    assert accepted.index("OriginGeneration2") < accepted.index("OriginGeneration1")
    policies = json.dumps(front.find_resources("AWS::IAM::Policy"))
    assert all(name in policies for name in names)


def test_the_first_generation_has_one_secret(api_of: StackOf) -> None:
    api_of("cloudfront-named").resource_count_is("AWS::SecretsManager::Secret", 1)


def test_the_function_url_behind_cloudfront_still_streams_and_handles_cors(front: Template) -> None:
    properties = {"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM", "Cors": Match.any_value()}
    front.has_resource_properties(URL, properties)


def test_the_origin_may_be_silent_for_longer_than_two_heartbeats(front: Template) -> None:
    [origin] = _distribution(front)["Origins"]
    assert origin["CustomOriginConfig"]["OriginReadTimeout"] == 30


def test_when_cloudfront_signs_requests_the_url_is_not_public_and_there_is_no_secret(api_of: StackOf) -> None:
    signed = api_of("cloudfront-signed")
    signed.has_resource_properties(URL, {"AuthType": "AWS_IAM"})
    signed.has_resource_properties(
        "AWS::CloudFront::OriginAccessControl",
        {"OriginAccessControlConfig": Match.object_like({"SigningBehavior": "always", "SigningProtocol": "sigv4"})},
    )
    signed.resource_count_is("AWS::SecretsManager::Secret", 0)
    public = [
        p for p in signed.find_resources("AWS::Lambda::Permission").values() if p["Properties"]["Principal"] == "*"
    ]
    assert public == []


def test_a_custom_domain_has_a_certificate_dns_records_and_tls_1_2(api_of: StackOf, edge: Template) -> None:
    named = api_of("cloudfront-named")
    config = _distribution(named)
    assert config["Aliases"] == ["chat.example.org"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["ViewerCertificate"]["AcmCertificateArn"]["Fn::GetStackOutput"]["Region"] == "us-east-1"
    records = named.find_resources("AWS::Route53::RecordSet").values()
    assert sorted(record["Properties"]["Type"] for record in records) == ["A", "AAAA"]
    edge.has_resource_properties(
        "AWS::CertificateManager::Certificate", {"DomainName": "chat.example.org", "ValidationMethod": "DNS"}
    )


def test_the_firewall_limits_rates_and_does_not_block_messages_that_contain_code(
    edge: Template, api_of: StackOf
) -> None:
    [acl] = edge.find_resources("AWS::WAFv2::WebACL").values()
    reputation, anonymous, common, rate = acl["Properties"]["Rules"]
    lists = [rule["Statement"]["ManagedRuleGroupStatement"] for rule in (reputation, anonymous)]
    assert [rule_group["Name"] for rule_group in lists] == [
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesAnonymousIpList",
    ]
    assert all("RuleActionOverrides" not in rule_group for rule_group in lists), "both lists block"
    overridden = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    assert [(rule["Name"], rule["ActionToUse"]) for rule in overridden] == [
        (r, {"Count": {}}) for r in RULES_ABOUT_BODIES
    ]
    assert rate["Statement"]["RateBasedStatement"] == {"AggregateKeyType": "IP", "Limit": 1000}
    assert "WebACLId" in _distribution(api_of("cloudfront-named"))


def test_the_firewall_stores_no_sampled_requests(edge: Template) -> None:
    assert '"SampledRequestsEnabled": true' not in json.dumps(edge.to_json())


def test_a_stage_has_an_edge_stack_only_if_its_options_need_it(variants: dict[str, Templates]) -> None:
    with_edge = [name for name, stacks in variants.items() if f"chatkit-{name}-edge" in stacks]
    assert with_edge == ["cloudfront-named"]


def test_when_cloudfront_signs_requests_cors_allows_the_headers_that_signing_needs(api_of: StackOf) -> None:
    [url] = api_of("cloudfront-signed").find_resources("AWS::Lambda::Url").values()
    headers = url["Properties"]["Cors"]["AllowHeaders"]
    assert {"x-chat-authorization", "x-amz-content-sha256"} <= set(headers)
    [url] = api_of("cloudfront").find_resources("AWS::Lambda::Url").values()
    assert "x-amz-content-sha256" not in url["Properties"]["Cors"]["AllowHeaders"]


def test_ip_addresses_are_logged_only_if_a_stage_enables_access_logs(front: Template, api_of: StackOf) -> None:
    assert "Logging" not in _distribution(front)
    named = api_of("cloudfront-named")
    assert "IncludeCookies" not in _distribution(named)["Logging"]
    expiring = {"Rules": [{"ExpirationInDays": 30, "Status": "Enabled"}]}
    named.has_resource_properties("AWS::S3::Bucket", {"LifecycleConfiguration": expiring})
    named.has_resource_properties("AWS::S3::Bucket", {"PublicAccessBlockConfiguration": Match.any_value()})
