"""The data stack of one stage: table, bucket and users, which outlive the API stack. Knows no function."""

import aws_cdk as cdk
from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.constructs.cognito import SignIn
from infra.constructs.storage import Storage
from infra.stage.config import StageConfig


class DataStack(Stack):
    """A separate stack for table, bucket and users, so that destroying the API cannot delete threads."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, env: cdk.Environment | None = None
    ) -> None:
        super().__init__(scope, construct_id, env=env, description=f"Chat, stage {config.stage}: threads and files")
        storage = Storage(self, "Storage", config=config)
        self.table = storage.table
        self.bucket = storage.bucket
        self.key = storage.key
        self.sign_in = (
            SignIn(self, "SignIn", config=config.auth.cognito, disposable=config.disposable)
            if config.auth.cognito is not None
            else None
        )
        CfnOutput(self, "Table", value=self.table.table_name, description="Threads, items and turns")
        CfnOutput(self, "Bucket", value=self.bucket.bucket_name, description="Files and large payloads")
        if self.sign_in:
            CfnOutput(self, "SignInPage", value=self.sign_in.page, description="Where people sign in")
            CfnOutput(self, "Issuer", value=self.sign_in.issuer, description="`iss` of their tokens")
            CfnOutput(self, "ClientId", value=self.sign_in.client_id, description="`client_id` of their tokens")
