"""The topic for events about what waits for an operator. Subscribers are yours: mail, HTTPS, Lambda, a queue."""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_sns as sns
from constructs import Construct


class EventsTopic(Construct):
    """An SNS topic to which the function publishes. Events hold ids and times, no content."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(self, "Topic", enforce_ssl=True)
        Validations.of(self.topic).acknowledge(
            Acknowledgment(id="AwsSolutions-SNS2", reason="Events hold ids and times; a key of our own costs.")
        )
