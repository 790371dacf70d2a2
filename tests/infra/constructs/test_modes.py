"""Compute modes in the template: plain Lambda, SnapStart and Managed Instances, with concurrency, VPC and rollback."""

from aws_cdk.assertions import Match, Template

from tests.infra.conftest import StackOf

FUNCTION = "AWS::Lambda::Function"
PROVIDER = "AWS::Lambda::CapacityProvider"


def test_plain_lambda_has_neither_snapstart_nor_managed_instances(api: Template) -> None:
    api.has_resource_properties(FUNCTION, {"SnapStart": Match.absent(), "CapacityProviderConfig": Match.absent()})
    api.resource_count_is(PROVIDER, 0)


def test_snapstart_starts_published_versions_from_a_snapshot(api_of: StackOf) -> None:
    api_of("snapstart").has_resource_properties(FUNCTION, {"SnapStart": {"ApplyOn": "PublishedVersions"}})


def test_the_architecture_can_be_x86_64(api_of: StackOf) -> None:
    api_of("snapstart").has_resource_properties(FUNCTION, {"Architectures": ["x86_64"]})


def test_managed_instances_run_in_the_configured_network_and_are_capped(api_of: StackOf) -> None:
    provider = {
        "VpcConfig": {"SubnetIds": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], "SecurityGroupIds": ["sg-0a1b2c3d"]},
        "InstanceRequirements": {"Architectures": ["arm64"], "AllowedInstanceTypes": ["m8g.large"]},
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 16},
    }
    api_of("managed").has_resource_properties(PROVIDER, provider)


def test_the_concurrency_of_each_execution_environment_is_configured(api_of: StackOf) -> None:
    concurrency = {"PerExecutionEnvironmentMaxConcurrency": 8}
    on_instances = {"LambdaManagedInstancesCapacityProviderConfig": Match.object_like(concurrency)}
    api_of("managed").has_resource_properties(FUNCTION, {"CapacityProviderConfig": on_instances, "MemorySize": 2048})


def test_every_mode_serves_through_the_alias(api_of: StackOf) -> None:
    for mode in ("snapstart", "managed"):
        api_of(mode).has_resource_properties("AWS::Lambda::Url", {"Qualifier": "live"})


def test_concurrency_is_reserved_only_if_a_stage_configures_it(api: Template, api_of: StackOf) -> None:
    api.has_resource_properties(FUNCTION, {"ReservedConcurrentExecutions": Match.absent()})
    api_of("full").has_resource_properties(FUNCTION, {"ReservedConcurrentExecutions": 20})


def test_a_canary_deployment_rolls_back_when_an_alarm_of_the_new_version_fires(api_of: StackOf) -> None:
    group = {
        "DeploymentConfigName": "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        "AlarmConfiguration": {"Enabled": True, "Alarms": [Match.any_value()] * 3},
        "AutoRollbackConfiguration": Match.object_like({"Enabled": True}),
    }
    api_of("full").has_resource_properties("AWS::CodeDeploy::DeploymentGroup", group)


def test_the_function_gets_vpc_permissions_only_in_a_vpc(api: Template, api_of: StackOf) -> None:
    network = {"SubnetIds": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}
    api_of("apigw").has_resource_properties(FUNCTION, {"VpcConfig": network})
    assert "ec2:" not in str(api.to_json())


def test_old_versions_are_retained_for_a_rollback_unless_they_cost_money(api: Template, api_of: StackOf) -> None:
    api.all_resources("AWS::Lambda::Version", {"DeletionPolicy": "Retain"})
    api_of("snapstart").all_resources("AWS::Lambda::Version", {"DeletionPolicy": "Delete"})
