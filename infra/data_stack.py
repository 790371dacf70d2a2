"""The data of one stage: what must outlive every deployment of the API. Knows no function."""

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.config import StageConfig
from infra.storage import Storage


class DataStack(Stack):
    """Table and bucket in a stack of their own, so that destroying the API cannot take the threads along."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id, description=f"Chat, stage {config.stage}: threads and files")
        storage = Storage(self, "Storage", disposable=config.disposable)
        self.table = storage.table
        self.bucket = storage.bucket
        CfnOutput(self, "Table", value=self.table.table_name, description="Threads, items and turns")
        CfnOutput(self, "Bucket", value=self.bucket.bucket_name, description="Files and large payloads")
