"""An AWS account that says what a test has it say, by botocore's own stubs. Knows stage `dev`, and no fault."""

from typing import Any

import boto3
from botocore.stub import Stubber

ACCOUNT, REGION = "123456789012", "eu-central-1"
DATA, API = "chatkit-dev-data", "chatkit-dev-api"
OURS = [{"Key": "project", "Value": "chatkit-lambda"}]


class Stubs:
    """One stubbed client for each service and region; what is not expected fails."""

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
        """What is there, by the end of its name: `model_key="String"`."""
        found = [{"Name": f"/chatkit/dev/{name.replace('_', '-')}", "Type": kind} for name, kind in types.items()]
        self.of("ssm").add_response("describe_parameters", {"Parameters": found})

    def function(self, reserved: int | None) -> None:
        """Whether the API stack is there with its function, and what that has set aside."""
        stubber = self.of("cloudformation")
        if reserved is None:
            stubber.add_client_error("describe_stack_resources", "ValidationError", "does not exist")
            return
        of_a_kind = {"Timestamp": "2026-01-01", "ResourceStatus": "CREATE_COMPLETE", "LogicalResourceId": "any"}
        resources = [
            {**of_a_kind, "ResourceType": "AWS::IAM::Role", "PhysicalResourceId": "role"},
            {**of_a_kind, "ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": "chat"},
        ]
        stubber.add_response("describe_stack_resources", {"StackResources": resources}, {"StackName": API})
        answer = {"ReservedConcurrentExecutions": reserved}
        self.of("lambda").add_response("get_function_concurrency", answer, {"FunctionName": "chat"})

    def all_asked(self) -> None:
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()
