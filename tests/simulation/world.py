"""One simulated deployment: the function, its services, its people, and what a schedule does to them."""

import asyncio
import json
import logging
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any

from agents import RunConfig

from lambda_src.auth.backend_tokens import NAMESPACE
from lambda_src.auth.bearer import user_id_of
from lambda_src.auth.guest_tokens import GuestTokens
from lambda_src.composition import access
from lambda_src.composition.app import Parts, build_handler
from lambda_src.context import RequestContext, User
from lambda_src.json_settings import GuestQuotaSettings, QuotaSettings
from lambda_src.models import providers
from lambda_src.rotating_secret import Secret
from lambda_src.runs.widget_actions import Actions
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.settings import Settings
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.simulation import model, promises
from tests.simulation.aws import Aws
from tests.simulation.clients import AUDIENCE, PUBLIC_KEY, BrokenError, Person, RefusedError, Tab, Web
from tests.simulation.faults import Fault, Weather, Window
from tests.simulation.history import History, Send
from tests.simulation.loop import new_loop
from tests.simulation.model import Vendor
from tests.simulation.promises import BrokenPromise
from tests.simulation.sandbox import Sandbox
from tests.simulation.scenario import DAY_S, SEQUELS, SOON_S, Scenario, Step, fault_rates
from tests.simulation.sources import MACHINE, SECOND, SOURCES, START_NS, Machine
from tests.simulation.trace import Trace
from tests.simulation.url import Function

GUEST_SECRET = "s" * 40
SETTLE_S = 1_200.0  # until every turn and every retry is over
MAX_OUTPUT_TOKENS = 300


class World:
    """Everything of one seed. `run` raises BrokenPromise."""

    def __init__(self, scenario: Scenario, *, whole_trace: bool = False) -> None:
        self.scenario = scenario
        SOURCES.begin(scenario.seed)
        deployment = self.deployment = scenario.deployment
        if deployment.starts_before_midnight_s is not None:
            midnight_ns = (START_NS // (DAY_S * SECOND) + 1) * DAY_S * SECOND
            SOURCES.now_ns = midnight_ns - round(deployment.starts_before_midnight_s * SECOND)
        self.begins_ns = SOURCES.now_ns
        self.trace = Trace(SOURCES, is_whole=whole_trace)
        self.loop = new_loop(SOURCES)
        self.loop.connections = self
        self.loop.on_kill = self._kill_machine
        self.weather = Weather(self.rng("weather"), latency_s=deployment.latency_s)
        self.aws = Aws(self.loop, self.trace, self.weather)
        self.vendor = Vendor(
            self.trace, self.rng, trouble=deployment.model_trouble, reports_usage=deployment.reports_usage
        )
        self.history = History()
        self.function = Function(
            self.loop, self.trace, self._new_sandbox, self.rng("network"),
            concurrency=deployment.concurrency, timeout_s=deployment.timeout_s,
        )  # fmt: skip
        self.web = Web(self.function, self.trace, self.history, self.rng("web"))
        self.settings = self._settings()
        self._machines = self.rng("machines")
        self._is_over = False  # the schedule is; what follows only looks
        self._actions: list[asyncio.Task[Any]] = []
        self.violation: BrokenPromise | None = None
        self.people = [Person(f"u{number}", False, self.web) for number in range(deployment.users)]
        self.people += [Person(f"g{number}", True, self.web) for number in range(deployment.guests)]
        tabs = self.rng("tabs")
        for person in self.people:
            person.tabs = [
                Tab(person, number, is_old=tabs.random() < deployment.old_tabs) for number in range(deployment.tabs)
            ]
        self.operator = Machine("operator")
        self.admin = self._admin_store()
        watch = promises.Watch(self)
        self.web.on_bytes, self.vendor.on_run = watch.client_bytes, watch.model_input
        self.aws.on_lease = self._note_lease
        _log_into(self.trace)

    def rng(self, name: str) -> random.Random:
        """Random numbers for one purpose."""
        return random.Random(f"{self.scenario.seed}/{name}")

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return (SOURCES.now_ns - self.begins_ns) / SECOND

    def is_bad(self, begins_ns: int, ends_ns: int) -> bool:
        """Whether requests to the store may have failed, or what failed before may still matter."""
        return self.weather.is_bad((begins_ns - START_NS) / SECOND, (ends_ns - START_NS) / SECOND)

    def counted(self, name: str, person: str | None) -> int:
        """The sum of a counter, of all days."""
        partition = f"STAGE#{name}#" if person is None else keys.user_partition(user_id_of(NAMESPACE, person))
        sums = [
            int(row["sum"]["N"])
            for (owner, sort), row in self.aws.engine.rows.items()
            if owner.startswith(partition) and sort.startswith(f"{name.upper()}#")
        ]
        return sum(sums)

    # The deployment

    def _settings(self) -> Settings:
        deployment = self.deployment
        return Settings(
            table="table",
            bucket="bucket",
            retention_days=deployment.retention_days,
            auth_public_keys=(PUBLIC_KEY,),
            auth_audience=AUDIENCE,
            guest_secret="secret",
            titles=deployment.has_titles,
            quotas=QuotaSettings(
                running_turns=deployment.running_turns,
                messages_per_day=deployment.messages_per_day,
                tokens_per_day=deployment.tokens_per_day,
                stage_tokens_per_day=deployment.stage_tokens_per_day,
                max_output_tokens=MAX_OUTPUT_TOKENS,
            ),
            guest_quotas=GuestQuotaSettings(),
        )

    def _build_handler(self) -> StreamingMangum:
        """The real handler, as a sandbox builds it."""
        settings = self.settings
        tokens = GuestTokens(Secret(lambda: GUEST_SECRET))

        def run_config() -> RunConfig:
            config = RunConfig(model_provider=self.vendor.provider(), tracing_disabled=True)
            return providers.capped(config, settings.quotas.max_output_tokens)

        parts = Parts(
            authenticate=access.authenticator(settings, tokens),
            build_run_config=run_config,
            build_agent=model.build_agent,
            build_actions=Actions,
            load_assistants=dict,
            guest_tokens=tokens,
        )
        clients: Any = self.aws
        return build_handler(settings, parts, aws=clients)

    def _admin_store(self) -> DynamoDBStore:
        """The store as `make chat` opens it, on the operator's machine."""
        clients: Any = self.aws
        retention_s = self.settings.retention_days * DAY_S
        return DynamoDBStore(
            clients.client("dynamodb"), "table", bucket="bucket", s3=clients.client("s3"), retention_s=retention_s
        )

    def _new_sandbox(self, on_free: Callable[[Sandbox], None]) -> Sandbox:
        rng = self._machines
        return Sandbox(
            len(self.function.sandboxes),
            self.loop,
            self.trace,
            self._build_handler,
            skew_ns=round(rng.choice(self.deployment.skews_s) * SECOND),
            cold_s=self.deployment.cold_s * rng.uniform(0.7, 1.5),
            release=f"r{self.function.generation}",
            on_free=on_free,
        )

    def connect(self, address: str, make_protocol: Callable[[], asyncio.BaseProtocol]) -> Any:
        """loop.Connections."""
        for sandbox in self.function.living:
            if sandbox.address == address:
                return sandbox.connect(make_protocol).ends  # type: ignore[arg-type]  # a Connection is a Protocol
        raise ConnectionRefusedError(address)

    def _kill_machine(self, machine: Machine) -> None:
        for sandbox in self.function.living:
            if sandbox.machine is machine:
                sandbox.kill()

    def _note_lease(self, partition: str, turn_id: str) -> None:
        _, thread_id = keys.owner_of(partition)
        leases = self.history.leases.setdefault(thread_id, [])
        if not leases or leases[-1][1] != turn_id:
            leases.append((SOURCES.now_ns, turn_id))

    # The schedule

    def run(self) -> None:
        """Play the schedule, let everything settle, then read everything and check."""
        for step in self.scenario.steps:
            self.loop.call_later(step.at_s, self._do, step, context=self.loop.world)
        self._pass(self.scenario.length_s)
        self.weather.windows = [
            Window(window.begins_s, min(window.ends_s, self.loop.time()), window.rates)
            for window in self.weather.windows
        ]
        self.web.breaks, self._is_over = 0.0, True
        for sandbox in self.function.living:
            sandbox.machine.steps_left = None
        self.trace.add("calm")
        self._pass(SETTLE_S, until=self._is_quiet)
        if not self._is_quiet():
            busy = [tab.name for person in self.people for tab in person.tabs if tab.is_busy]
            raise BrokenPromise("everyone-is-answered", f"after {SETTLE_S} s {busy or 'an action'} still waits")
        self._check(self._finally())

    def _is_quiet(self) -> bool:
        return all(task.done() for task in self._actions) and all(
            sandbox.state in ("idle", "dead") for sandbox in self.function.sandboxes
        )

    def _pass(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let time pass."""
        end_ns = SOURCES.now_ns + round(seconds * SECOND)
        self.loop.run_until(until or (lambda: False), until_ns=end_ns)
        if self.violation is not None:
            raise self.violation

    def violate(self, promise: str, text: str) -> None:
        """A promise is broken: stop."""
        if self.violation is None:
            self.violation = BrokenPromise(promise, text)
            self.loop.stop()

    def _check(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a check to its end."""
        task = self.loop.create_task(work, context=self.loop.world.copy())
        self._pass(20 * DAY_S, until=task.done)
        if not task.done():
            raise BrokenPromise("everyone-is-answered", "the last requests were never answered")
        task.result()

    def act(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Start what somebody does; what the server refuses or breaks is theirs to see."""

        async def acting() -> None:
            try:
                await work
            except (RefusedError, BrokenError) as error:
                self.trace.add(name, "gets", error)

        self._actions.append(self.loop.create_task(acting(), context=self.loop.world.copy(), name=name))

    def _do(self, step: Step) -> None:
        rng = random.Random(step.pick)
        self.trace.add("step", step)
        match step.kind:
            case "faults":
                begins_s = self.loop.time()
                self.weather.windows.append(Window(begins_s, begins_s + rng.choice((0.3, 2.0, 8.0)), fault_rates(rng)))
            case "breaks":
                self.web.breaks = rng.choice((0.0, 0.2, 0.5))
            case "kill":
                if living := self.function.living:
                    rng.choice(living).machine.steps_left = rng.choice((0, 1, 3, 10, 30, 100, 300))
            case "deploy":
                self.function.deploy()
            case "sweep":
                self.act("sweep", self.sweep())
            case "expire":
                self.expire()
            case "link":
                self._link(rng)
            case "erase":
                self._erase(rng)
            case _:
                self._act_in_tab(step.kind, rng)

    def _act_in_tab(self, kind: str, rng: random.Random) -> None:
        people = [person for person in self.people if not person.is_gone]
        if not people:
            return
        person = rng.choice(people)
        tab = rng.choice(person.tabs)
        match kind:
            case "say":
                idle = [tab for tab in person.tabs if not tab.is_busy]
                if idle:
                    self._say(rng.choice(idle), rng)
            case "twice":
                idle = [tab for tab in person.tabs if not tab.is_busy]
                if len(idle) > 1:
                    self._say(idle[0], rng, new=False)
                    self._say_beside(idle[0], rng)
            case "retry":
                if not tab.is_busy and tab.thread_id is not None and tab.newest_message is not None:
                    self._ask(tab, "retry", tab.thread_id, "")
            case "stop":
                busy = [tab for tab in person.tabs if tab.is_busy]
                if busy:
                    self.act(busy[0].name, busy[0].stop())
            case "reload":
                self.act(tab.name, tab.reload())
            case "leave":
                tab.abandon()
            case "delete":
                self.act(tab.name, tab.delete())
            case "rename":
                self.act(tab.name, tab.rename(f"{person.mark} title {rng.getrandbits(16)}"))
            case "list":
                self.act(tab.name, tab.call("threads.list", limit=3, order="desc"))

    def _say_beside(self, tab: Tab, rng: random.Random) -> None:
        """Another tab of the person shows the same thread, and says something."""
        others = [other for other in tab.person.tabs if not other.is_busy and other is not tab]
        if others and tab.thread_id is not None:
            others[0].thread_id = tab.thread_id
            self._say(others[0], rng, new=False, has_sequel=False)

    def _sequel(self, kind: str, tab: Tab, pick: int) -> None:
        """What happens soon after a message."""
        if self._is_over:
            return
        rng = random.Random(pick)
        self.trace.add("sequel", kind, tab.name)
        match kind:
            case "stop":
                self.act(tab.name, tab.stop())
            case "delete":
                self.act(tab.name, tab.delete())
            case "rename":
                self.act(tab.name, tab.rename(f"{tab.person.mark} title {pick % 65536}"))
            case "reload":
                self.act(tab.name, tab.reload())
            case "leave":
                tab.abandon()
            case "second":
                self._say_beside(tab, rng)
            case "kill" if not self.deployment.is_calm:
                if busy := [sandbox for sandbox in self.function.living if sandbox.is_taken]:
                    busy[-1].machine.steps_left = rng.choice((0, 1, 5, 20, 60))
            case "cut" if not self.deployment.is_calm:
                now_s = self.loop.time()
                fault: Fault = rng.choice(("lost", "lost", "slow", "reset"))
                self.weather.windows.append(Window(now_s, now_s + rng.choice((2.5, 5.0, 12.0)), {fault: 1.0}))
            case "faults" if not self.deployment.is_calm:
                now_s = self.loop.time()
                self.weather.windows.append(Window(now_s, now_s + rng.choice((0.05, 0.5, 3.0)), fault_rates(rng)))

    def _say(self, tab: Tab, rng: random.Random, *, new: bool | None = None, has_sequel: bool = True) -> None:
        is_new = tab.thread_id is None or (rng.random() < 0.3 if new is None else new)
        others = [other.thread_id for other in tab.person.tabs if other.thread_id]
        if is_new and others and rng.random() < 0.5:
            tab.thread_id, is_new = rng.choice(others), False
        kind = rng.choice(("", "", "", model.SLOW_TOOL, model.LONG, "x" * rng.choice((10, 3000))))
        self._ask(tab, "create" if is_new else "add", None if is_new else tab.thread_id, kind)
        if has_sequel and rng.random() < 0.75:
            sequel, soon_s = rng.choice(SEQUELS), rng.choice(SOON_S)
            if rng.random() < 0.5:  # between the requests by which the turn begins
                soon_s = 0.02 + 2 * self.deployment.latency_s * rng.uniform(0, 8)
            self.loop.call_later(soon_s, self._sequel, sequel, tab, rng.getrandbits(32), context=self.loop.world)

    def _ask(self, tab: Tab, kind: Any, thread_id: str | None, more: str) -> None:
        number = len(self.history.sends)
        text = f"{tab.person.mark} ~m{number}~ {more}".strip()
        send = Send(number, tab.person.name, kind, thread_id, text, not tab.is_old, SOURCES.now_ns)
        self.history.sends.append(send)
        params: dict[str, object]
        if kind == "retry":
            send.retried_item = tab.newest_message
            params = {"thread_id": thread_id, "item_id": tab.newest_message}
            operation = "threads.retry_after_item"
        else:
            content = [{"type": "input_text", "text": text}]
            params = {"input": {"content": content, "attachments": [], "inference_options": {}}}
            operation = "threads.create" if kind == "create" else "threads.add_user_message"
            if thread_id is not None:
                params["thread_id"] = thread_id
            else:
                tab.thread_id = tab.newest_message = None
        self.act(tab.name, tab.say(send, operation, params))

    def _link(self, rng: random.Random) -> None:
        guests = [person for person in self.people if person.is_guest and not person.is_gone and person.token]
        users = [person for person in self.people if not person.is_guest and not person.is_gone]
        if guests and users:
            guest, user = rng.choice(guests), rng.choice(users)
            self.history.linked[guest.name] = user.name
            guest.is_gone = True
            for tab in guest.tabs:
                tab.abandon()

            async def link() -> None:
                tab = user.tabs[0]
                await tab.retried(lambda: tab.linked(guest.token or ""))

            self.act(f"{user.name} links {guest.name}", link())

    def _erase(self, rng: random.Random) -> None:
        """An operator erases a person, who has left before."""
        users = [person for person in self.people if not person.is_guest and not person.is_gone]
        if len(users) < 2:
            return
        person = rng.choice(users)
        person.is_gone = True
        for tab in person.tabs:
            tab.abandon()
        self.history.erasing.setdefault(person.name, SOURCES.now_ns)

        async def erase() -> None:
            MACHINE.set(self.operator)
            await asyncio.sleep(rng.choice((0.0, 5.0)))
            for _ in range(5):
                try:
                    async for _removed in self.admin.erase_user(RequestContext(User(self.user_id(person)), "operator")):
                        pass
                except Exception as error:  # noqa: BLE001 - the operator runs it again
                    self.trace.add("erase", type(error).__name__)
                    await asyncio.sleep(10)
                else:
                    self.history.erased[person.name] = SOURCES.now_ns
                    return

        self.act(f"erase {person.name}", erase())

    def user_id(self, person: Person) -> str:
        """The id of a signed-in user in the store."""
        return user_id_of(NAMESPACE, person.name)

    async def sweep(self) -> None:
        """The hourly event."""
        result = await self.function.event({"chat": "sweep"})
        self.trace.add("sweep", result.decode()[:80])

    def expire(self) -> None:
        """DynamoDB's TTL deletes what has expired long enough ago."""
        now_s = SOURCES.now_ns // SECOND
        removed = self.aws.expire(lambda expires_s: expires_s < now_s - self.deployment.ttl_late_s)
        self.trace.add("expire", removed)

    async def _finally(self) -> None:
        """Read everything, use every thread once more, sweep, and check every promise."""
        if self.history.linked:
            await self.sweep()  # moves what a link had to leave
        threads: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for person in self.people:
            if person.name not in self.history.erasing and (not person.is_guest or person.token):
                threads[person.name] = await self._read_all(person)
        promises.check(self, threads)
        await self._use_threads(threads)
        for _ in range(3):
            await asyncio.sleep(1_000)
            self.expire()
            await self.sweep()
        promises.check_rows(self)

    async def _read_all(self, person: Person) -> dict[str, list[dict[str, Any]]]:
        tab = Tab(person, 99, is_old=False)
        threads: dict[str, list[dict[str, Any]]] = {}
        after = None
        while True:
            page = await tab.call("threads.list", limit=2, order="asc", after=after)
            for thread in page["data"]:
                threads[thread["id"]] = await self._items(tab, thread["id"])
                self._check_title(person, thread)
            if not page["has_more"]:
                return threads
            after = page["after"]

    def _check_title(self, person: Person, thread: dict[str, Any]) -> None:
        title = None if thread["id"] in self.history.unclear_titles else self.history.titles.get(thread["id"])
        if title is not None and thread.get("title") != title:
            self.violate("renames-are-kept", f"{thread['id']} is called {thread.get('title')!r}, not {title!r}")

    async def _items(self, tab: Tab, thread_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        after = None
        await tab.call("threads.get_by_id", thread_id=thread_id)  # recovers what a crash left
        while True:
            page = await tab.call("items.list", thread_id=thread_id, limit=5, order="asc", after=after)
            items += page["data"]
            if not page["has_more"]:
                return items
            after = page["after"]

    async def _use_threads(self, threads: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
        """A thread that nobody deleted takes another message, and answers it."""
        self.vendor.trouble = 0.0
        for person in [person for person in self.people if not person.is_gone]:
            for thread_id in list(threads.get(person.name, {}))[:2]:
                tab = Tab(person, 98, is_old=False)
                tab.thread_id = thread_id
                send = Send(len(self.history.sends), person.name, "add", thread_id, "", True, SOURCES.now_ns)
                send.text = f"{person.mark} ~m{send.number}~ once more"
                self.history.sends.append(send)
                content = [{"type": "input_text", "text": send.text}]
                message = {"content": content, "attachments": [], "inference_options": {}}
                await tab.say(send, "threads.add_user_message", {"thread_id": thread_id, "input": message})
                promises.check_last(self, send)


def _log_into(trace: Trace) -> None:
    """The product's log lines become events of the trace."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields = {
                name: vars(record)[name]
                for name in ("code", "error_type", "kind", "operation", "status")
                if vars(record).get(name) is not None
            }
            trace.add("log", record.levelname, record.getMessage(), json.dumps(fields, default=str))

    logger = logging.getLogger("lambda_src")
    logger.handlers, logger.propagate = [Handler()], False
    logger.setLevel(logging.INFO)
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
    os.environ.pop("AWS_REGION", None)
