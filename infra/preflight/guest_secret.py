"""The secret that signs guests' tokens: made once for each stage, as an SSM SecureString. Knows no stack.

CloudFormation makes no SecureStrings, and Secrets Manager would charge $0.40 a month for a stage that nobody uses; so
`make deploy` creates it after all checks and before anything is deployed. It is never shown.
`chat secret rotate guest-secret` puts another in its place, which ends every guest's session.
"""

import secrets

from botocore.exceptions import BotoCoreError, ClientError

from infra.errors import PreflightError
from infra.preflight.account import Account, is_there
from infra.stage.config import StageConfig

SECRET_BYTES = 48  # 384 bits: more than HS256 has


def ensure(config: StageConfig, account: Account) -> bool:
    """Make the stage's secret if it has guests and none is there; says whether one was made.

    PreflightError when AWS refuses: without it no guest could be let in.
    """
    if (name := config.guest_secret_name) is None or is_there(name, config, account):
        return False
    ssm = account.clients("ssm", account.region)
    try:
        ssm.put_parameter(
            Name=name,
            Type="SecureString",
            Value=secrets.token_urlsafe(SECRET_BYTES),
            Description=f"Signs guests' tokens, stage {config.stage}. `chat secret rotate` changes it.",
            Tags=[{"Key": "project", "Value": "chatkit-lambda"}, {"Key": "stage", "Value": config.stage}],
            Overwrite=False,  # never a second one: it would end every guest's session
        )
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ParameterAlreadyExists":
            return False
        raise PreflightError([f"the guests' secret {name} cannot be made: {error}."]) from None
    except BotoCoreError as error:
        raise PreflightError([f"the guests' secret {name} cannot be made: {error}."]) from None
    return True
