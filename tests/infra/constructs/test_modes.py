"""Plain Lambda, SnapStart, Managed Instances: one setting each, one function, one alias, the same zip."""

from aws_cdk.assertions import Match, Template

from tests.infra.conftest import StackOf

FUNCTION = "AWS::Lambda::Function"
PROVIDER = "AWS::Lambda::CapacityProvider"


def test_plain_lambda_has_neither_snapshot_nor_instances(api: Template) -> None:
    api.has_resource_properties(FUNCTION, {"SnapStart": Match.absent(), "CapacityProviderConfig": Match.absent()})
    api.resource_count_is(PROVIDER, 0)


def test_snapstart_starts_published_versions_from_a_snapshot(api_of: StackOf) -> None:
    api_of("snapstart").has_resource_properties(FUNCTION, {"SnapStart": {"ApplyOn": "PublishedVersions"}})


def test_x86_64_is_one_setting(api_of: StackOf) -> None:
    api_of("snapstart").has_resource_properties(FUNCTION, {"Architectures": ["x86_64"]})


def test_managed_instances_stand_in_the_given_network_and_are_capped(api_of: StackOf) -> None:
    provider = {
        "VpcConfig": {"SubnetIds": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], "SecurityGroupIds": ["sg-0a1b2c3d"]},
        "InstanceRequirements": {"Architectures": ["arm64"], "AllowedInstanceTypes": ["m8g.large"]},
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 16},
    }
    api_of("managed").has_resource_properties(PROVIDER, provider)


def test_each_environment_takes_as_many_turns_as_the_setting_says(api_of: StackOf) -> None:
    concurrency = {"PerExecutionEnvironmentMaxConcurrency": 8}
    on_instances = {"LambdaManagedInstancesCapacityProviderConfig": Match.object_like(concurrency)}
    api_of("managed").has_resource_properties(FUNCTION, {"CapacityProviderConfig": on_instances, "MemorySize": 2048})


def test_every_mode_answers_through_the_alias(api_of: StackOf) -> None:
    for mode in ("snapstart", "managed"):
        api_of(mode).has_resource_properties("AWS::Lambda::Url", {"Qualifier": "live"})


def test_concurrency_is_set_aside_only_when_it_is_asked_for(api: Template, api_of: StackOf) -> None:
    api.has_resource_properties(FUNCTION, {"ReservedConcurrentExecutions": Match.absent()})
    api_of("full").has_resource_properties(FUNCTION, {"ReservedConcurrentExecutions": 20})


def test_a_canary_goes_back_when_an_alarm_of_the_version_rings(api_of: StackOf) -> None:
    group = {
        "DeploymentConfigName": "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        "AlarmConfiguration": {"Enabled": True, "Alarms": [Match.any_value()] * 3},
        "AutoRollbackConfiguration": Match.object_like({"Enabled": True}),
    }
    api_of("full").has_resource_properties("AWS::CodeDeploy::DeploymentGroup", group)


def test_in_a_network_the_function_may_make_its_interfaces_and_elsewhere_not(api: Template, api_of: StackOf) -> None:
    network = {"SubnetIds": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}
    api_of("apigw").has_resource_properties(FUNCTION, {"VpcConfig": network})
    assert "ec2:" not in str(api.to_json())


def test_old_versions_stay_for_a_rollback_unless_each_would_be_charged(api: Template, api_of: StackOf) -> None:
    api.all_resources("AWS::Lambda::Version", {"DeletionPolicy": "Retain"})
    api_of("snapstart").all_resources("AWS::Lambda::Version", {"DeletionPolicy": "Delete"})
