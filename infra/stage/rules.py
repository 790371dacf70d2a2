"""Rules about options of a stage that exclude or require each other. Pure."""

from infra.stage.schema import StageOptions
from infra.stage.sections import SET_BY_THE_STACK, bedrock_region, policy_faults

COGNITO = "https://cognito-idp."  # its tokens come from another host, which the page may call only if it is configured
GOOGLE = "https://accounts.google.com"
MANAGED_MEMORY_MB = 2048  # the minimum on Managed Instances


def violated_rules(stage: StageOptions) -> list[str]:
    """One sentence for each violated rule, beginning with the option to change."""
    cdn, managed = stage.behind_cloudfront, stage.managed_instances is not None
    zoned = stage.domain is not None and stage.domain.hosted_zone_id is not None
    taken = [name for name, _ in stage.settings if name in SET_BY_THE_STACK]
    names = [] if stage.page is None else [assistant.name for assistant in stage.page.assistants]
    repeated = sorted({name for name in names if names.count(name) > 1})
    proven = stage.domain is not None and stage.domain.certificate_arn is not None
    rules = {
        "auth.sign_in_url is missing: Cognito issues tokens at https://<prefix>.auth.<region>.amazoncognito.com, "
        "and the page may call only configured hosts.": (
            (stage.auth.issuer or "").startswith(COGNITO)
            and stage.auth.client_id is not None
            and stage.auth.sign_in_url is None
        ),
        "auth.client_id cannot be combined with Google: its access tokens are opaque. Use Cognito or Auth0.": (
            stage.auth.issuer == GOOGLE and stage.auth.client_id is not None
        ),
        f"settings must not contain {', '.join(taken)}: the stack sets that itself.": bool(taken),
        f"page.assistants must name each assistant once, and repeats {', '.join(map(repr, repeated))}.": bool(repeated),
        "claims needs auth.issuer, auth.public_keys or auth.cognito: guests have no claims.": bool(stage.claims)
        and stage.auth.issuer is None
        and not stage.auth.public_keys
        and stage.auth.cognito is None,
        "operators needs auth.issuer, auth.public_keys or auth.cognito: guests are never operators.": (
            stage.operators is not None
            and stage.auth.issuer is None
            and not stage.auth.public_keys
            and stage.auth.cognito is None
        ),
        "operators.claim and operators.value need each other: which claim, with which value, makes an operator.": (
            stage.operators is not None and (stage.operators.claim is None) != (stage.operators.value is None)
        ),
        "operators.claim is missing: only tokens of your own backend (auth.public_keys) name operators without it.": (
            stage.operators is not None and stage.operators.claim is None and not stage.auth.public_keys
        ),
        "snapstart cannot be combined with managed_instances: their environments stay warm.": stage.snapstart
        and managed,
        f"memory_mb must be at least {MANAGED_MEMORY_MB} with managed_instances.": managed
        and stage.memory_mb < MANAGED_MEMORY_MB,
        "reserved_concurrency has no effect with managed_instances: use max_vcpus.": managed
        and stage.reserved_concurrency is not None,
        "vpc is missing: managed_instances run in its subnets.": managed and stage.vpc is None,
        "vpc needs front_door apigw: function URLs do not stream in a VPC.": stage.vpc is not None
        and not managed
        and stage.front_door != "apigw",
        "domain needs front_door cloudfront.": not cdn and stage.domain is not None,
        "domain needs either hosted_zone_id or certificate_arn.": stage.domain is not None and zoned == proven,
        "waf needs front_door cloudfront.": not cdn and stage.waf,
        "account and region are required for waf and hosted_zone_id: their stack is in us-east-1.": stage.needs_edge
        and (stage.account is None or stage.region is None),
        "region is required for kms cmk: the key's name is part of the table.": stage.kms == "cmk"
        and stage.region is None,
        "monitoring none has no alarms to mail: use basic, or remove alarm_email.": stage.monitoring == "none"
        and stage.alarm_email is not None,
        "canary needs monitoring: without alarms nothing would roll it back.": stage.canary
        and stage.monitoring == "none",
        "models is missing: the role may call only these models of Amazon Bedrock.": not stage.models
        and bedrock_region(stage.settings) is not None,
        "quotas.stage_tokens_per_day is missing: nothing else limits what guests can cost.": stage.open_to_strangers
        and (stage.quotas is None or stage.quotas.stage_tokens_per_day is None),
        "access_logs needs front_door cloudfront or apigw: a function URL has no access log.": stage.access_logs
        and stage.front_door == "url",
        "monthly_budget_usd needs alarm_email: it has to notify someone.": stage.monthly_budget_usd is not None
        and stage.alarm_email is None,
    }
    faults = [sentence for sentence, violated in rules.items() if violated]
    return [*faults, *policy_faults(stage.policy, stage=stage.stage)]
