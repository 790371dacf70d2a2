"""Canary deployments: a new version gets 10 % of the traffic, then all of it if no alarm rings. Knows no function."""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

ROLE_POLICY = "service-role/AWSCodeDeployRoleForLambdaLimited"  # AWS's own: moves aliases, reads alarms


class Canary(Construct):
    """CodeDeploy shifts the alias: 10 % for 5 minutes, then the rest. It rolls back when one of `alarms` rings."""

    def __init__(
        self, scope: Construct, construct_id: str, *, alias: lambda_.Alias, alarms: list[cloudwatch.IAlarm]
    ) -> None:
        super().__init__(scope, construct_id)
        group = codedeploy.LambdaDeploymentGroup(
            self,
            "Group",
            alias=alias,
            deployment_config=codedeploy.LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
            alarms=alarms,
            auto_rollback=codedeploy.AutoRollbackConfig(failed_deployment=True, deployment_in_alarm=bool(alarms)),
        )
        Validations.of(group).acknowledge(
            Acknowledgment(
                id=f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{ROLE_POLICY}]",
                reason="CodeDeploy's own policy for Lambda, the limited one of the two.",
            )
        )
