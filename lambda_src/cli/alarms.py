"""`chat alarm-test`: sets one alarm of a stage to ALARM, after checking that its topic has a subscriber.

Knows CloudWatch's and SNS's calls, and the name of one alarm (infra/monitoring/alarms.py has them all).
"""

from typing import Any

from lambda_src.cli.stage import Stage, session_for
from lambda_src.errors import RequestError

RUNG = "throttles"  # every stage with monitoring has it, and it turns no deployment back
PENDING = "PendingConfirmation"  # instead of a subscription's ARN, while its mail is not confirmed


def ring(stage: Stage, endpoint_url: str | None) -> str:
    """Trigger the alarm; return a sentence that names it and the recipients of its mail.

    RequestError: why nobody would get the mail. Raises what boto3 raises if AWS refuses or cannot be reached.
    """
    session = session_for(stage, endpoint_url)
    cloudwatch: Any = session.client("cloudwatch", endpoint_url=endpoint_url)
    sns: Any = session.client("sns", endpoint_url=endpoint_url)
    name = f"chatkit-{stage.name}-{RUNG}"
    alarms = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not alarms:
        raise RequestError(f"There is no alarm {name}: deploy stage {stage.name}, with monitoring basic or full.")
    topics = alarms[0]["AlarmActions"]
    if not topics:
        raise RequestError(
            f"{name} notifies nobody: set alarm_email of stage {stage.name} in cdk.json, then `make deploy`."
        )
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topics[0])
    subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
    confirmed = [
        subscription["Endpoint"] for subscription in subscriptions if subscription["SubscriptionArn"] != PENDING
    ]
    if not confirmed:
        waiting = ", ".join(subscription["Endpoint"] for subscription in subscriptions) or "nobody"
        raise RequestError(
            f"Nobody would get the mail: {waiting} has not confirmed the subscription. Open AWS's mail "
            '("AWS Notification - Subscription Confirmation"; is it in the spam folder?), then try again.'
        )
    cloudwatch.set_alarm_state(
        AlarmName=name, StateValue="ALARM", StateReason="A test: chat alarm-test. Nothing is wrong."
    )
    return (
        f"Triggered {name}. Its mail to {', '.join(confirmed)} should arrive within minutes. CloudWatch resets the "
        "alarm by itself."
    )
