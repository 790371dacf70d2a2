"""Monitoring: alarms and the topic that mails them; with `full` also a dashboard, a health check and a budget.

none     nothing
basic    five alarms, within the free tier of an account
full     all alarms, a dashboard, a health check every 5 minutes, and a budget if the stage names a sum
"""

from aws_cdk import Acknowledgment, ArnFormat, Stack, Validations
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.schedule import HEALTH_EVENT, HEALTH_EVERY, every
from infra.monitoring import alarms
from infra.monitoring.alarms import Alarm, Watched
from infra.monitoring.dashboard import dashboard
from infra.stage.config import StageConfig

OF_A_VERSION = ("errors", "near-timeout", "server-errors")  # the alarms that a bad deployment triggers
BUDGET_PERCENT = 80  # of the monthly sum, while there is time to act


class Monitoring(Construct):
    """`of_a_version` are the alarms that roll a canary back; `dashboard_url` is None without a dashboard."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        alias: lambda_.Alias,
        log_group: logs.LogGroup,
        table: dynamodb.ITableV2,
        sweep: events.Rule,
        client_errors: cloudwatch.IMetric,
        server_errors: cloudwatch.IMetric,
    ) -> None:
        super().__init__(scope, construct_id)
        self.of_a_version: list[cloudwatch.IAlarm] = []
        self.dashboard_url: str | None = None
        if config.monitoring == "none":
            return
        watched = Watched(
            config=config,
            alias=alias,
            table=table,
            sweep=sweep,
            log_group=log_group,
            client_errors=client_errors,
            server_errors=server_errors,
        )
        topic = self._topic(config.alarm_email) if config.alarm_email else None
        chosen = alarms.basic(watched)
        if config.monitoring == "full":
            health = every(Construct(self, "Health"), HEALTH_EVERY, event=HEALTH_EVENT, alias=alias)
            chosen += alarms.full(watched, health=health)
        for alarm in chosen:
            made = self._alarm(alarm, stage=config.stage, topic=topic)
            if alarm.name in OF_A_VERSION:
                self.of_a_version.append(made)
        if config.monitoring == "full":
            name = dashboard(self, watched)
            region = Stack.of(self).region
            self.dashboard_url = (
                f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#dashboards:name={name}"
            )
        if config.monthly_budget_usd is not None and topic is not None:
            self._budget(config.monthly_budget_usd, topic=topic, stage=config.stage)

    def _topic(self, email: str) -> sns.Topic:
        """The alarm topic. Its policy replaces SNS's default policy, so it must allow each publisher."""
        topic = sns.Topic(self, "Topic", enforce_ssl=True)
        stack = Stack.of(self)
        alarms_of_ours = stack.format_arn(
            service="cloudwatch", resource="alarm", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        topic.add_to_resource_policy(_may_publish("cloudwatch", alarms_of_ours, topic, account=stack.account))
        budgets_of_ours = f"arn:{stack.partition}:budgets::{stack.account}:*"
        topic.add_to_resource_policy(_may_publish("budgets", budgets_of_ours, topic, account=stack.account))
        subscription = topic.add_subscription(subscriptions.EmailSubscription(email))
        Validations.of(subscription).acknowledge(
            Acknowledgment(id="Serverless-SNSRedrivePolicy", reason="A mail that cannot be sent is of no use later.")
        )
        Validations.of(topic).acknowledge(
            Acknowledgment(
                id="AwsSolutions-SNS2",
                reason="CloudWatch cannot publish under AWS's own key, and one of ours costs; alarms hold no content.",
            )
        )
        return topic

    def _alarm(self, alarm: Alarm, *, stage: str, topic: sns.Topic | None) -> cloudwatch.Alarm:
        bad, fine = cloudwatch.TreatMissingData.BREACHING, cloudwatch.TreatMissingData.NOT_BREACHING
        made = cloudwatch.Alarm(
            self,
            alarm.name,
            alarm_name=f"chatkit-{stage}-{alarm.name}",
            alarm_description=alarm.does,
            metric=alarm.metric,
            threshold=alarm.threshold,
            evaluation_periods=alarm.times,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=bad if alarm.missing_is_bad else fine,
        )
        if topic is not None:
            made.add_alarm_action(actions.SnsAction(topic))
            made.add_ok_action(actions.SnsAction(topic))
        return made

    def _budget(self, dollars: int, *, topic: sns.Topic, stage: str) -> None:
        """A budget for the whole account: one for a stage would need its tags to be activated in billing first."""
        budget = budgets.CfnBudget
        to = [budget.SubscriberProperty(address=topic.topic_arn, subscription_type="SNS")]

        def at(percent: int, kind: str) -> budgets.CfnBudget.NotificationWithSubscribersProperty:
            notification = budget.NotificationProperty(
                comparison_operator="GREATER_THAN", notification_type=kind, threshold=percent
            )
            return budget.NotificationWithSubscribersProperty(notification=notification, subscribers=to)

        budget(
            self,
            "Budget",
            budget=budget.BudgetDataProperty(
                budget_name=f"chatkit-{stage}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budget.SpendProperty(amount=dollars, unit="USD"),
            ),
            notifications_with_subscribers=[at(BUDGET_PERCENT, "ACTUAL"), at(100, "FORECASTED")],
        )


def _may_publish(service: str, source: str, topic: sns.Topic, *, account: str) -> iam.PolicyStatement:
    """Let `service` publish for this account only, so that another account's alarms cannot mail our operators."""
    return iam.PolicyStatement(
        sid=f"Allow{service.title()}",
        principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
        actions=["sns:Publish"],
        resources=[topic.topic_arn],
        conditions={"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source}},
    )
