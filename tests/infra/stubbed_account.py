"""A stubbed AWS account for preflight tests: botocore's Stubber with the responses that a stage `dev` needs."""

from typing import Any

import boto3
from botocore.stub import Stubber

ACCOUNT, REGION = "123456789012", "eu-central-1"
DATA, API = "chatkit-dev-data", "chatkit-dev-api"
OURS = [{"Key": "project", "Value": "chatkit-lambda"}]


class Stubs:
    """One stubbed client per service and region. A call that the test did not prepare fails."""

    def __init__(self) -> None:
        self._stubbers: dict[tuple[str, str], Stubber] = {}

    def of(self, service: str, region: str = REGION) -> Stubber:
        if (service, region) not in self._stubbers:
            client = boto3.client(  # type: ignore[call-overload] # the service is not known to the type checker
                service, region_name=region, aws_access_key_id="id", aws_secret_access_key="secret"
            )
            self._stubbers[service, region] = Stubber(client)
            self._stubbers[service, region].activate()
        return self._stubbers[service, region]

    def client(self, service: str, region: str) -> Any:
        return self.of(service, region).client

    def bootstrapped(self, version: str | None = "30", region: str = REGION) -> None:
        if version is None:
            self.of("ssm", region).add_client_error("get_parameter", "ParameterNotFound")
        else:
            self.of("ssm", region).add_response("get_parameter", {"Parameter": {"Value": version}})

    def stack(self, status: str | None = None, *, tags: list[dict[str, str]] = OURS, region: str = REGION) -> None:
        stubber = self.of("cloudformation", region)
        if status is None:
            stubber.add_client_error("describe_stacks", "ValidationError", "does not exist")
        else:
            stack = {"StackName": "any", "CreationTime": "2026-01-01", "StackStatus": status, "Tags": tags}
            stubber.add_response("describe_stacks", {"Stacks": [stack]})

    def secrets(self, **types: str) -> None:
        """The parameters that exist, as type by the last part of the name: `model_key="String"`."""
        parameters = [{"Name": f"/chatkit/dev/{name.replace('_', '-')}", "Type": kind} for name, kind in types.items()]
        self.of("ssm").add_response("describe_parameters", {"Parameters": parameters})

    def function(self, reserved: int | None) -> None:
        """The reserved concurrency of the function in the API stack, or None if there is no stack yet."""
        stubber = self.of("cloudformation")
        if reserved is None:
            stubber.add_client_error("describe_stack_resources", "ValidationError", "does not exist")
            return
        common = {"Timestamp": "2026-01-01", "ResourceStatus": "CREATE_COMPLETE", "LogicalResourceId": "any"}
        resources = [
            {**common, "ResourceType": "AWS::IAM::Role", "PhysicalResourceId": "role"},
            {**common, "ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": "chat"},
        ]
        stubber.add_response("describe_stack_resources", {"StackResources": resources}, {"StackName": API})
        response = {"ReservedConcurrentExecutions": reserved}
        self.of("lambda").add_response("get_function_concurrency", response, {"FunctionName": "chat"})

    def assert_all_called(self) -> None:
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()
