"""The composition root: builds the Lambda handler, or the ASGI app, from settings and parts."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from lambda_src.attachments.presigned_urls import PresignedUrls
from lambda_src.auth import Authenticate, GuestTokens
from lambda_src.auth.account_linking import AccountLinking
from lambda_src.chat.lazy_server import LazyChatServer, without_collector
from lambda_src.chat.registry import AssistantEndpoint, AssistantRegistry
from lambda_src.chat.scheduled_events import Events
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.composition import access
from lambda_src.composition.aws import Clients
from lambda_src.composition.stores import (
    build_callers,
    build_counters,
    build_files,
    build_inbox,
    build_new_threads,
    build_store,
    build_usage,
    upload_origin,
)
from lambda_src.errors import RequestError, SettingsError
from lambda_src.http.app import ChatApp, Prewarm, create_app
from lambda_src.http.edge import Middleware
from lambda_src.http.page import Page, page_of
from lambda_src.languages import FOLDERS, SHIPPED, Languages
from lambda_src.models.transcription import DICTATION_MODEL, Dictation, Transcribe
from lambda_src.observability.logs import configure_logging
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.rotating_secret import Secret
from lambda_src.runs import tool_secrets
from lambda_src.runs.assistants import (
    Assistant,
    BuildAgent,
    LoadAssistants,
    shipped,
    shipped_actions,
    shipped_agent,
    shipped_tool_titles,
)
from lambda_src.runs.dispatcher import AgentDispatcher, BuildActions, BuildRunConfig, Provisional, ReadToolTitles
from lambda_src.runs.hooks import LoadHooks, Screening, no_hooks, shipped_hooks
from lambda_src.runs.tool_secrets import ToolSecrets
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.settings import Settings
from lambda_src.startup import lazy_packages
from lambda_src.startup.flags import is_on
from lambda_src.store.ports import TurnLedger
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices

if TYPE_CHECKING:
    from agents import RunConfig
    from openai import AsyncOpenAI

    from lambda_src.chat.server import ChatServer
    from lambda_src.composition.stores import ChatStore
    from lambda_src.composition.support import SupportSide
    from lambda_src.support.clock import OperatorClock
    from lambda_src.support.desk import Desk

AWS = Clients()
Clock = Callable[[], int]
KEYLESS_S = 30.0  # how often a process without a model key looks for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that differ between Lambda, other servers, a laptop and tests."""

    authenticate: Authenticate
    build_run_config: BuildRunConfig
    build_agent: BuildAgent = shipped_agent
    build_actions: BuildActions = shipped_actions
    tool_titles: ReadToolTitles = dict
    load_assistants: LoadAssistants = shipped
    load_hooks: LoadHooks = no_hooks
    transcribe: Transcribe | None = None
    guest_tokens: GuestTokens | None = None
    middleware: Sequence[Middleware] = ()
    page: Page | None = None
    tool_secrets: ToolSecrets | None = None
    languages: Sequence[Path] = (SHIPPED,)  # folders with their tables
    clock: Clock = time.time_ns  # nanoseconds since 1970


def build_app(
    settings: Settings, store: "ChatStore", ledger: TurnLedger, parts: Parts, *, aws: Clients = AWS
) -> ChatApp:
    """The chat server as an ASGI app, with its AWS clients from `aws`."""
    return _joined(settings, store, ledger, parts, aws).app


def build_handler(settings: Settings, parts: Parts, *, aws: Clients = AWS) -> StreamingMangum:
    """The chat server as a Lambda handler, with its AWS clients from `aws`."""
    store, ledger = build_store(settings, aws)
    joined = _joined(settings, store, ledger, parts, aws)
    return StreamingMangum(joined.app, lifespan="on", on_event=Events(store, joined.account_linking, joined.clock))


@dataclass(frozen=True, slots=True)
class _Joined:
    """The app, and what scheduled events continue: account linking, if the stage has guests, and the operators' clock,
    if it has operators.
    """

    app: ChatApp
    account_linking: AccountLinking | None
    clock: "OperatorClock | None"


def _joined(settings: Settings, store: "ChatStore", ledger: TurnLedger, parts: Parts, aws: Clients = AWS) -> _Joined:
    lazy_packages.install()
    os.environ["TZ"] = "UTC"  # the SDK writes naive local times: with this they mean UTC, everywhere
    time.tzset()
    configure_logging()
    tool_secrets.install(parts.tool_secrets)
    languages = Languages(settings.page.languages, parts.languages)
    clock = parts.clock
    counters = build_counters(settings, store, clock=clock)
    files = build_files(settings, aws, counters)
    new_threads = build_new_threads(settings, store, ledger)
    dictation = parts.transcribe is not None
    usage = build_usage(settings, store, clock=clock)
    callers, screening = build_callers(settings, store, clock=clock), Screening(parts.load_hooks)
    urls = None if files is None else PresignedUrls(files)

    def quotas_of(settings: Settings) -> Quotas:
        return Quotas(ledger, counters, settings, usage=usage, clock=clock)

    def turns_of(quotas: Quotas) -> Turns:
        services = TurnServices(
            ledger,
            AnswerStore(store),
            clock=lambda: clock() // 1_000_000,
            quotas=quotas,
            urls=urls,
            has_operators=settings.operators is not None,
        )
        return Turns(services)

    quotas = quotas_of(settings)
    turns = turns_of(quotas)
    support: SupportSide | None = None
    if settings.operators is not None and (inbox := build_inbox(settings, ledger)) is not None:
        from lambda_src.composition.support import build_support  # noqa: PLC0415 - only what is chosen is loaded

        support = build_support(
            settings.operators,
            store,
            inbox,
            turns,
            counters,
            events_topic=settings.events_topic,
            files=files,
            aws=aws,
            clock=clock,
        )
    desk = None if support is None else support.desk

    def late_server(
        settings: Settings,
        build_agent: BuildAgent,
        build_actions: BuildActions,
        tool_titles: ReadToolTitles,
        quotas: Quotas,
    ) -> LazyChatServer:
        dispatcher = AgentDispatcher(
            build_agent,
            build_run_config=parts.build_run_config,
            build_actions=build_actions,
            tool_titles=tool_titles,
        )

        def load_server() -> "ChatServer":
            complete_models()
            from lambda_src.chat import server  # noqa: PLC0415 - off the cold path: the Agents SDK, openai
            from lambda_src.models import providers  # noqa: PLC0415 - off the cold path: the Agents SDK, openai
            from lambda_src.runs import titles  # noqa: PLC0415 - off the cold path: the Agents SDK, openai

            providers.trace_nothing()
            return server.ChatServer(
                store,
                dispatcher,
                feedback=store,
                new_threads=new_threads,
                settings=settings,
                files=files,
                transcribe=parts.transcribe,
                suggest_title=titles.by_model(dispatcher, models=settings.models) if settings.titles else None,
                quotas=quotas,
                desk=desk,
            )

        checks = Checks(store, settings, files, dictation=dictation, screening=screening)
        load = partial(without_collector, load_server)
        return LazyChatServer(
            load, dispatcher.prepare, checks=checks, store_requests=StoreRequests(store, store, files, quotas, desk)
        )

    def open_named(assistant: Assistant) -> AssistantEndpoint:
        own = assistant.settings(settings)
        quotas = quotas_of(own)
        server = late_server(own, assistant.built, lambda: assistant.actions, lambda: assistant.tool_titles, quotas)
        return AssistantEndpoint(server, turns_of(quotas))

    server = late_server(settings, parts.build_agent, parts.build_actions, parts.tool_titles, quotas)
    account_linking = None if parts.guest_tokens is None else AccountLinking(store, turns, files=files)
    app = create_app(
        AssistantEndpoint(server, turns),
        authenticate=parts.authenticate,
        sweeps=store,
        max_body_bytes=settings.max_body_bytes,
        named=AssistantRegistry(parts.load_assistants, open_named),
        guests=access.guests(parts.guest_tokens, counters, callers, screening, clock=clock),
        page=parts.page
        or page_of(settings, upload_origin=upload_origin(settings, aws), dictation=dictation, languages=languages),
        token_header=settings.token_header,
        middleware=parts.middleware,
        account_linking=account_linking,
        prewarm=prewarming(server) if is_on("prewarm") else None,
        callers=callers,
        desk=desk,
        operator_routes=None if desk is None else operator_routes(settings, desk, parts, urls),
        languages=languages,
    )
    return _Joined(app, account_linking, None if support is None else support.clock)


def operator_routes(settings: Settings, desk: "Desk", parts: Parts, urls: PresignedUrls | None) -> ASGIApp:
    """The routes under /operator."""
    from lambda_src.http.operator_routes import OperatorRoutes  # noqa: PLC0415 - only what is chosen is loaded

    return OperatorRoutes(
        desk,
        authenticate=parts.authenticate,
        token_header=settings.token_header,
        max_body_bytes=settings.max_body_bytes,
        message_chars=settings.message_chars,
        urls=urls,
    )


def lambda_handler(env: Mapping[str, str]) -> StreamingMangum:
    """The handler on Lambda, with settings from `env`. SettingsError lists every fault."""
    configure_logging(root=logging.getLogger(), service=env.get("AWS_LAMBDA_FUNCTION_NAME", "chat"))
    settings = Settings.from_env(env)
    return build_handler(settings, deployed(settings, middleware=tracing(settings, env)))


def asgi_app() -> ChatApp:
    """The ASGI app outside Lambda, for `uvicorn --factory lambda_src.composition.app:asgi_app`.

    Reads the process's environment. SettingsError lists every fault; X-Ray tracing is one, since it needs Lambda.
    """
    configure_logging(root=logging.getLogger())
    settings = Settings.from_env(os.environ)
    if settings.tracing is not None:
        raise SettingsError(["CHAT_TRACING works on Lambda only, which makes the traces: leave it out."])
    store, ledger = build_store(settings, AWS)
    return build_app(settings, store, ledger, deployed(settings))


def deployed(settings: Settings, *, middleware: Sequence[Middleware] = ()) -> Parts:
    """The parts of a deployment. `middleware` runs before the middleware that the settings name."""
    guest_tokens = access.guest_tokens(settings, AWS.stored_secret)
    return Parts(
        authenticate=access.authenticator(settings, guest_tokens),
        build_run_config=runner(settings),
        tool_titles=shipped_tool_titles,
        load_hooks=shipped_hooks,
        transcribe=transcriber(settings),
        guest_tokens=guest_tokens,
        middleware=[*middleware, *access.middleware(settings, AWS.stored_secret)],
        tool_secrets=stored_secrets(settings),
        languages=FOLDERS,
    )


def stored_secrets(settings: Settings) -> ToolSecrets:
    """The secrets that tools may read. A secret's name is the last part of its parameter's."""
    parameters = {parameter.rpartition("/")[2]: parameter for parameter in settings.secrets}
    return ToolSecrets(lambda name: AWS.tool_secret(parameters[name]), names=parameters)


def tracing(settings: Settings, env: Mapping[str, str]) -> list[Middleware]:
    """The middleware that traces requests; none if tracing is off."""
    if settings.tracing is None:
        return []
    from lambda_src.http.xray import traced  # noqa: PLC0415 - only what is chosen is loaded

    return [traced(env.get("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"))]


def runner(settings: Settings) -> BuildRunConfig:
    """Builds the agent's run configuration when it is first needed."""
    parameter = settings.model_key_parameter

    def build() -> "RunConfig | Provisional":
        key = AWS.model_key(parameter)
        built = run_config(key, settings, read_key=lambda: AWS.model_key(parameter) or "")
        is_final = key is not None or parameter is None or settings.model_base_url is not None  # Bedrock's: no demo
        return built if is_final else Provisional(built, KEYLESS_S)

    return build


def transcriber(settings: Settings) -> Transcribe | None:
    """Dictation if the settings name its model, else None. The operator must also set a model key."""
    if settings.dictation_model is None:
        return None
    return dictation(lambda: AWS.model_key(settings.model_key_parameter) or "", settings)


def dictation(key: Callable[[], str], settings: Settings) -> Transcribe:
    """Dictation with the model vendor's API; `key` is called when somebody dictates."""

    def build_client() -> "AsyncOpenAI":
        from lambda_src.models import providers  # noqa: PLC0415 - off the cold path

        if not (model_key := key()):
            raise RequestError("Dictation is not available: this server has no model key yet.")
        renewal = providers.RenewedKey(Secret(key, known=model_key))
        return providers.openai_client(model_key, base_url=settings.model_base_url, renewal=renewal)

    return Dictation(build_client, model=settings.dictation_model or DICTATION_MODEL)


def complete_models() -> None:
    """Complete openai's models before the Agents SDK is imported: see response_models.py."""
    from lambda_src.models import response_models  # noqa: PLC0415 - off the cold path: openai

    response_models.complete_models()


def prewarming(server: LazyChatServer) -> Prewarm:
    """Prewarms the server before the first request: see prewarm.py."""

    async def prewarmed() -> None:
        complete_models()
        from lambda_src.chat.prewarm import prewarm  # noqa: PLC0415 - it imports the Agents SDK, and may be switched off

        await prewarm(server)

    return prewarmed


def run_config(key: str | None, settings: Settings, *, read_key: Callable[[], str] | None = None) -> "RunConfig":
    """The agent's run configuration: OpenAI's models, or others with its API; without `key`, what providers.py chooses.

    UnavailableError: a key is required. `read_key` is called again if the vendor refuses the key, which may have been
    rotated.
    """
    from lambda_src.models import providers  # noqa: PLC0415 - off the cold path

    renewal = None
    if key is not None and read_key is not None:
        renewal = providers.RenewedKey(Secret(read_key, known=key))
    chosen = providers.chosen_run_config(
        key, base_url=settings.model_base_url, api=settings.model_api, renewal=renewal, demo=settings.demo_model
    )
    if providers.is_openai(settings.model_base_url) if settings.model_privacy is None else settings.model_privacy:
        chosen = providers.private(chosen)
    return providers.capped(chosen, settings.quotas.max_output_tokens)
