"""One simulated deployment: the function, its services, its people, and what a schedule does to them."""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from agents import RunConfig

from lambda_src.auth.backend_tokens import NAMESPACE
from lambda_src.auth.bearer import user_id_of
from lambda_src.auth.guest_tokens import GuestTokens
from lambda_src.composition import access
from lambda_src.composition.app import Parts, build_handler
from lambda_src.json_settings import GuestQuotaSettings, QuotaSettings
from lambda_src.models import providers
from lambda_src.rotating_secret import Secret
from lambda_src.runs.widget_actions import Actions
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.settings import Settings
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.turns import turn_rows
from tests.simulation import ending, model, promises
from tests.simulation.aws import Aws
from tests.simulation.clients import AUDIENCE, PUBLIC_KEY, BrokenError, Person, RefusedError, Tab, Web
from tests.simulation.faults import HICCUP_S, Fault, Weather, Window
from tests.simulation.history import History, Kind, Send
from tests.simulation.loop import new_loop
from tests.simulation.model import Vendor
from tests.simulation.promises import BrokenPromise
from tests.simulation.sandbox import Sandbox
from tests.simulation.scenario import DAY_S, OF_THE_DAY, SEQUELS, SOON_S, Scenario, Step, fault_rates
from tests.simulation.scenes import Scenes
from tests.simulation.sources import SECOND, SOURCES, START_NS, Machine
from tests.simulation.trace import Trace
from tests.simulation.url import Function

GUEST_SECRET = "s" * 40
SETTLE_S = 1_200.0  # until every turn and every retry is over
MAX_OUTPUT_TOKENS = 300
SNAPSHOT_AGE_S = 6 * 3600  # of the process that SnapStart restores
AT_ONCE = 4  # invocations in one process, with Managed Instances


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
        self.weather = Weather(self.rng("weather"), self.rng("fates"), latency_s=deployment.latency_s)
        self.aws = Aws(self.loop, self.trace, self.weather)
        self.vendor = Vendor(
            self.trace, self.rng, trouble=deployment.model_trouble, reports_usage=deployment.reports_usage
        )
        of_the_day = {step.kind for step in scenario.steps}
        self._at_once = AT_ONCE if "share" in of_the_day else 1
        self._snapshot_age_s = SNAPSHOT_AGE_S if "restore" in of_the_day else 0
        self.vendor.ponders = "ponder" in of_the_day
        self.history = History()
        self.function = Function(
            self.loop, self.trace, self._new_sandbox, self.rng("network"),
            concurrency=deployment.concurrency, timeout_s=deployment.timeout_s,
        )  # fmt: skip
        self.web = Web(self.function, self.trace, self.history, self.rng("web"))
        self.settings = self._settings()
        self._machines = self.rng("machines")
        self.is_over = False  # the schedule is; what follows only looks
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
        self.scenes = Scenes(self)
        watch = promises.Watch(self)
        self.web.on_bytes, self.vendor.on_run = watch.client_bytes, watch.model_input
        self.web.on_refused = watch.refused
        self.aws.on_lease = self._note_lease
        self.trace.record_logs()
        os.environ.pop("AWS_REGION", None)

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

    def slack_s(self, begins_ns: int, ends_ns: int) -> float:
        """How much later than promised something may happen that waits for two requests, as responses are lost."""
        has_hiccups = self.weather.has_hiccups((begins_ns - START_NS) / SECOND, (ends_ns - START_NS) / SECOND)
        return 2 * HICCUP_S if has_hiccups else 0.0

    def due_ns(self, begins_ns: int, machine: str, *, within_s: float) -> int:
        """When a request to a machine is due that takes `within_s`, and longer with hiccups."""
        due_s = self.weather.due_s((begins_ns - START_NS) / SECOND, machine, within_s=within_s)
        return START_NS + round(due_s * SECOND)

    def clears_up(self, begins_ns: int, due_ns: int, ends_ns: int) -> bool:
        """Whether the store works from `due_ns` to `ends_ns`, having failed before."""
        return self.weather.ends_before(*((at_ns - START_NS) / SECOND for at_ns in (begins_ns, due_ns, ends_ns)))

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
            build_agent=self.vendor.build_agent,
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
            at_once=self._at_once,
            snapshot_age_s=self._snapshot_age_s,
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

    def _note_lease(self, partition: str, row: Mapping[str, Any]) -> None:
        """A lease was written: note each turn that has it, and when others declared a turn dead."""
        if turn_rows.TURN_ID not in row:
            return
        turn_id = row[turn_rows.TURN_ID]["S"]
        _, thread_id = keys.owner_of(partition)
        leases = self.history.leases.setdefault(thread_id, [])
        if not leases or leases[-1][1] != turn_id:
            leases.append((SOURCES.now_ns, turn_id))
        if row[turn_rows.ENDED]["BOOL"] and row[turn_rows.EXPIRES_MS] == {"N": "0"}:
            self.history.declared_dead.setdefault(turn_id, SOURCES.now_ns)

    # The schedule

    def run(self) -> None:
        """Play the schedule, let everything settle, then read everything and check."""
        for step in self.scenario.steps:
            self.loop.call_later(step.at_s, self._do, step, context=self.loop.world)
        self._pass(self.scenario.length_s)
        self.weather.clear_up(self.loop.time())
        self.web.breaks, self.is_over = 0.0, True
        for sandbox in self.function.living:
            sandbox.machine.steps_left = None
        self.trace.add("calm")
        self._pass(SETTLE_S, until=self._is_quiet)
        if not self._is_quiet():
            busy = [tab.name for person in self.people for tab in person.tabs if tab.is_busy]
            raise BrokenPromise("everyone-is-answered", f"after {SETTLE_S} s {busy or 'an action'} still waits")
        self._check(ending.read_and_check(self))

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
                guests = [person for person in self.people if person.is_guest and not person.is_gone and person.token]
                if guests and self._users():
                    self.scenes.link(rng.choice(guests), rng)
            case "erase":
                if len(users := self._users()) > 1:
                    self.scenes.erase(rng.choice(users), rng)
            case kind if kind in OF_THE_DAY:
                pass  # since the beginning
            case kind if kind.startswith("scene "):
                self.scenes.play(kind.removeprefix("scene "), rng)
            case _:
                self._act_in_tab(step.kind, rng)

    def _users(self) -> list[Person]:
        return [person for person in self.people if not person.is_guest and not person.is_gone]

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
                    self.say(rng.choice(idle), rng)
            case "twice":
                idle = [tab for tab in person.tabs if not tab.is_busy]
                if len(idle) > 1:
                    self.say(idle[0], rng, new=False)
                    self._say_beside(idle[0], rng)
            case "retry":
                if not tab.is_busy and tab.thread_id is not None and tab.newest_message is not None:
                    self.ask(tab, "retry", tab.thread_id, "")
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
            self.say(others[0], rng, new=False, has_sequel=False)

    def _sequel(self, kind: str, tab: Tab, pick: int) -> None:
        """What happens soon after a message."""
        if self.is_over:
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

    def say(
        self,
        tab: Tab,
        rng: random.Random,
        *,
        new: bool | None = None,
        has_sequel: bool = True,
        more: str | None = None,
    ) -> Send:
        """Somebody says something in a tab, in its thread or in a new one."""
        is_new = tab.thread_id is None or (rng.random() < 0.3 if new is None else new)
        others = [other.thread_id for other in tab.person.tabs if other.thread_id]
        if is_new and not new and others and rng.random() < 0.5:
            tab.thread_id, is_new = rng.choice(others), False
        drawn = rng.choice(("", "", "", model.SLOW_TOOL, model.LONG, "x" * rng.choice((10, 3000))))
        send = self.ask(tab, "create" if is_new else "add", None if is_new else tab.thread_id, more or drawn)
        if has_sequel and rng.random() < 0.75:
            sequel, soon_s = rng.choice(SEQUELS), rng.choice(SOON_S)
            if rng.random() < 0.5:  # between the requests by which the turn begins
                soon_s = 0.02 + 2 * self.deployment.latency_s * rng.uniform(0, 8)
            self.loop.call_later(soon_s, self._sequel, sequel, tab, rng.getrandbits(32), context=self.loop.world)
        return send

    def ask(self, tab: Tab, kind: Kind, thread_id: str | None, more: str) -> Send:
        """Send a request for a turn."""
        number = len(self.history.sends)
        text = f"{tab.person.mark} ~m{number}~ {more}".strip()
        send = Send(number, tab.person.name, kind, thread_id, text, not tab.is_old, SOURCES.now_ns)
        self.history.sends.append(send)
        params: dict[str, object]
        if kind == "retry":
            send.retried_item = tab.newest_message
            params = {"thread_id": thread_id, "item_id": tab.newest_message}
            operation = "threads.retry_after_item"
        elif kind == "form":
            answers = {question["id"]: {"values": ["Approve"]} for question in (tab.form or {"inputs": []})["inputs"]}
            params = {"thread_id": thread_id, "item_id": (tab.form or {})["id"], "input": {"answers": answers}}
            operation = "threads.add_structured_input"
        else:
            content = [{"type": "input_text", "text": text}]
            params = {"input": {"content": content, "attachments": [], "inference_options": {}}}
            operation = "threads.create" if kind == "create" else "threads.add_user_message"
            if thread_id is not None:
                params["thread_id"] = thread_id
            else:
                tab.thread_id = tab.newest_message = None
        metadata: dict[str, object] = {}
        if kind == "edit":
            send.retried_item = metadata["edited_item_id"] = tab.newest_message
        self.act(tab.name, tab.say(send, operation, params, metadata))
        return send

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
