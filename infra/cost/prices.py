"""AWS prices in us-east-1, in US dollars, each with its source. Calls no API.

Prices change, and other regions differ by up to half: check the source before you rely on a figure.
"""

from dataclasses import dataclass

AS_OF = "2026-11"
HOURS_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class Price:
    """`usd` for one `unit`."""

    usd: float
    unit: str
    page: str


LAMBDA = "https://aws.amazon.com/lambda/pricing/"
DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"

LAMBDA_REQUEST = Price(0.20 / 1e6, "request", LAMBDA)
LAMBDA_GB_S = {
    "arm64": Price(0.0000133334, "GB-second", LAMBDA),
    "x86_64": Price(0.0000166667, "GB-second", LAMBDA),
}
SNAPSTART_CACHE_GB_S = Price(0.0000015046, "GB-second kept", LAMBDA)
SNAPSTART_RESTORED_GB = Price(0.0001397998, "GB restored", LAMBDA)
MANAGED_FEE = Price(0.15, "dollar of EC2 on demand", LAMBDA)
EC2_HOUR = {  # on demand; savings plans take up to 72 % off
    "m8g.large": Price(0.08976, "hour", "https://aws.amazon.com/ec2/pricing/on-demand/"),
    "m8g.xlarge": Price(0.17952, "hour", "https://aws.amazon.com/ec2/pricing/on-demand/"),
}
TABLE_WRITE = Price(0.625 / 1e6, "write unit", DYNAMODB)
TABLE_READ = Price(0.125 / 1e6, "read unit", DYNAMODB)
TABLE_GB = Price(0.25, "GB a month", DYNAMODB)
TABLE_BACKUP_GB = Price(0.20, "GB a month", DYNAMODB)
BUCKET_GB = Price(0.023, "GB a month", "https://aws.amazon.com/s3/pricing/")
METRIC = Price(0.30, "custom metric a month, in the hours in which it is sent", CLOUDWATCH)
LOG_GB = Price(0.50, "GB", CLOUDWATCH)
ALARM = Price(0.10, "metric of an alarm a month", CLOUDWATCH)
DASHBOARD = Price(3.00, "dashboard a month", CLOUDWATCH)
SECRET = Price(0.40, "secret a month", "https://aws.amazon.com/secrets-manager/pricing/")
KEY = Price(1.00, "key a month", "https://aws.amazon.com/kms/pricing/")
WEB_ACL = Price(5.00, "web ACL a month", "https://aws.amazon.com/waf/pricing/")
WEB_ACL_RULE = Price(1.00, "rule a month", "https://aws.amazon.com/waf/pricing/")

FREE_ALARMS = 10  # an account's, each month, for nothing: two stages with basic monitoring
FREE_DASHBOARDS = 3
