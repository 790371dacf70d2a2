"""`chat alarm-test`: sets one alarm of a stage to ALARM, after checking that its topic has a subscriber.

Knows CloudWatch's and SNS's calls, and the name of one alarm (infra/monitoring/alarms.py has them all).
"""

from typing import Any

from lambda_src.cli.stage import Stage, session_for
from lambda_src.errors import RequestError, UnavailableError

RUNG = "throttles"  # every stage with monitoring has it, and it turns no deployment back
PENDING = "PendingConfirmation"  # instead of a subscription's ARN, while its mail is not confirmed


def ring(stage: Stage, endpoint_url: str | None) -> str:
    """Trigger the alarm; return a sentence that names it and the recipients of its mail.

    RequestError: why nobody would get the mail. UnavailableError: AWS cannot be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - a second that no other command needs

    try:
        session = session_for(stage, endpoint_url)
        return _rung(
            stage.name,
            session.client("cloudwatch", endpoint_url=endpoint_url),
            session.client("sns", endpoint_url=endpoint_url),
        )
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        raise UnavailableError(f"The alarm could not be tested: AWS answered {code}.") from None
    except BotoCoreError as error:
        raise UnavailableError(f"The alarm could not be tested: {str(error).rstrip('.')}.") from None


def _rung(stage: str, cloudwatch: Any, sns: Any) -> str:  # noqa: ANN401 - boto3's clients have no common type
    name = f"chatkit-{stage}-{RUNG}"
    found = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not found:
        raise RequestError(f"There is no alarm {name}: deploy stage {stage}, with monitoring basic or full.")
    topics = found[0]["AlarmActions"]
    if not topics:
        raise RequestError(f"{name} notifies nobody: set alarm_email of stage {stage} in cdk.json, then `make deploy`.")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topics[0])
    subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
    confirmed = [one["Endpoint"] for one in subscriptions if one["SubscriptionArn"] != PENDING]
    if not confirmed:
        waiting = ", ".join(one["Endpoint"] for one in subscriptions) or "nobody"
        raise RequestError(
            f"Nobody would get the mail: {waiting} has not confirmed the subscription. Open AWS's mail "
            '("AWS Notification - Subscription Confirmation"; is it in the spam folder?), then try again.'
        )
    cloudwatch.set_alarm_state(
        AlarmName=name, StateValue="ALARM", StateReason="A test: chat alarm-test. Nothing is wrong."
    )
    return f"{name} rang: {', '.join(confirmed)} gets a mail within minutes. CloudWatch sets the alarm back by itself."
