"""Lambda Managed Instances: runs the function on EC2 instances that Lambda manages. Knows no code and no data."""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.stage.sections import ManagedInstancesConfig, NetworkConfig

OPERATOR_POLICY = "AWSLambdaManagedEC2ResourceOperator"  # AWS's managed policy: only AWS knows all it must allow


class ManagedInstances(Construct):
    """A capacity provider in your subnets, capped in vCPUs, with the function; an environment runs several turns."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: ManagedInstancesConfig,
        network: NetworkConfig,
        architecture: lambda_.Architecture,
        function: lambda_.Function,
    ) -> None:
        super().__init__(scope, construct_id)
        operator = iam.Role(
            self,
            "Operator",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(OPERATOR_POLICY)],
        )
        Validations.of(operator).acknowledge(
            Acknowledgment(
                id=f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{OPERATOR_POLICY}]",
                reason="Lambda's own policy for running instances in its name; AWS keeps it as narrow as it can be.",
            )
        )
        types = [ec2.InstanceType(name) for name in config.instance_types]
        provider = lambda_.CapacityProvider(
            self,
            "Capacity",
            subnets=[self._subnet(name) for name in network.subnets],
            security_groups=[
                ec2.SecurityGroup.from_security_group_id(self, name, name) for name in network.security_groups
            ],
            architectures=[architecture],
            instance_type_filter=lambda_.InstanceTypeFilter.allow(types) if types else None,
            max_v_cpu_count=config.max_vcpus,
            operator_role=operator,
        )
        provider.add_function(
            function,
            per_execution_environment_max_concurrency=config.concurrency,
            publish_to_latest_published=False,  # the alias says which version answers
        )

    def _subnet(self, subnet_id: str) -> ec2.ISubnet:
        subnet = ec2.Subnet.from_subnet_id(self, subnet_id, subnet_id)
        Validations.of(subnet).acknowledge(
            Acknowledgment(
                id="Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId", reason="Nobody asks for its routes here."
            )
        )
        return subnet
