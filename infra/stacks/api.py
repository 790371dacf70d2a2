"""The API stack of one stage: function, front door, schedule and alarms. Owns no data, so it can be recreated."""

from collections.abc import Sequence
from dataclasses import replace

import aws_cdk as cdk
from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.canary import Canary
from infra.constructs.events_topic import EventsTopic
from infra.constructs.function import ChatFunction, Holdings
from infra.constructs.schedule import EveryMinute, HourlySweep
from infra.ingress.cloudfront import Edge
from infra.ingress.front_door import FrontDoor
from infra.ingress.origin_secrets import OriginSecrets
from infra.monitoring.monitoring import Monitoring
from infra.stacks.data import DataStack
from infra.stage.config import StageConfig
from infra.stage.environment import ResourceNames, variables


class ApiStack(Stack):
    """The API stack. Its outputs are the address of the chat and the code for a frontend."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        code: lambda_.Code,
        data: DataStack,
        edge: Edge,
        env: cdk.Environment | None = None,
    ) -> None:
        super().__init__(scope, construct_id, env=env, description=f"Chat, stage {config.stage}: the API")
        secrets = None
        if config.has_origin_secret:
            secrets = OriginSecrets(self, "Origin", generation=config.origin_secret_generation)
        accepted = secrets.accepted if secrets else ()
        events = EventsTopic(self, "Events").topic if config.operators is not None else None
        names = _resource_names(config, data, [secret.secret_arn for secret in accepted])
        names = replace(names, events_topic=events.topic_arn if events is not None else None)
        chat = ChatFunction(
            self,
            "Chat",
            config=config,
            code=code,
            holdings=Holdings(table=data.table, bucket=data.bucket, key=data.key, secrets=accepted, events=events),
            environment=variables(config, names),
        )
        front_door = FrontDoor(self, "FrontDoor", config=config, alias=chat.alias, secrets=secrets, edge=edge)
        sweep = HourlySweep(self, "Sweep", alias=chat.alias)
        if config.operators is not None:
            EveryMinute(self, "Clock", alias=chat.alias)
        monitoring = Monitoring(
            self,
            "Monitoring",
            config=config,
            alias=chat.alias,
            log_group=chat.log_group,
            table=data.table,
            sweep=sweep.rule,
            client_errors=front_door.client_errors,
            server_errors=front_door.server_errors,
        )
        if config.canary:
            Canary(self, "Canary", alias=chat.alias, alarms=monitoring.of_a_version)
        url = front_door.url
        CfnOutput(self, "Endpoint", value=url, description="POST /chatkit streams a turn")
        CfnOutput(self, "Page", value=url, description="Open it and chat")
        CfnOutput(self, "FrontendSnippet", value=frontend_snippet(url), description="For a page of your own")
        if events is not None:
            CfnOutput(self, "EventsTopic", value=events.topic_arn, description="Subscribe what answers users")
        if monitoring.dashboard_url:
            CfnOutput(self, "Dashboard", value=monitoring.dashboard_url)


def _resource_names(config: StageConfig, data: DataStack, origin_secrets: Sequence[str]) -> ResourceNames:
    auth, pool = config.auth, data.sign_in
    return ResourceNames(
        table=data.table.table_name,
        bucket=data.bucket.bucket_name,
        issuer=pool.issuer if pool else auth.issuer,
        audience=pool.client_id if pool else auth.audience,
        client_id=pool.client_id if pool else auth.client_id,
        sign_in_url=pool.url if pool else auth.sign_in_url,
        origin_secrets=tuple(origin_secrets),
    )


def frontend_snippet(url: str) -> str:
    """The code of docs/how-to/frontend.md for this address: `getToken` is yours, `domainKey` comes from OpenAI."""
    return (
        f'import {{ chatClient }} from "{url}chat-client.js"; '
        f'const chat = chatClient({{ url: "{url}chatkit", getToken }}); '
        'chatkit.setOptions({ api: { url: chat.url, domainKey: "YOUR-DOMAIN-KEY", fetch: chat.fetch, '
        'uploadStrategy: { type: "two_phase" } } });'
    )
