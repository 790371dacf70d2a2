"""A hostile client against the whole app: no token ceiling is exceeded, and the number of followers stays small.

Up to 200 addresses, 1,000 guests and some signed-in users attack three processes on one table: parallel requests, new
threads (each with a title), newer messages, duplicates, retries, Stop at any point, recordings, followers, dying
processes, lost answers of the table, midnight. The vendor counts tokens with a public tokenizer. We promise a ceiling
plus one reservation per process; the ceiling itself holds.

Each seed sends ACTIONS requests, 10,000 in total. test_ceilings.py runs 10,000 steps below the app.
"""

import asyncio
import base64
import gc
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from lambda_src.quotas.turn_quota import ONE_GUEST, ONE_NETWORK
from lambda_src.store.counters import DAY_S
from lambda_src.store.followers import OF_A_TURN, OF_A_USER
from tests.abuse import hostile_client
from tests.abuse.hostile_client import PERCENT, STAGE, Attempt, Process, Stage, Stream, VirtualLoop, record_admissions
from tests.apps.chat import message

pytestmark = pytest.mark.xdist_group("tokenizer")

SEEDS, ACTIONS = (1, 2), 5_000
ADDRESSES, GUESTS, SIGNED_IN, PROCESSES = 200, 1_000, 5, 3
NOTICED_S = 5.0  # a follower checks every 2 s for newer followers, and one check may fail
GUESTS_SHARE = STAGE * PERCENT // 100
CEILINGS = {
    "stage": STAGE,
    "guests": GUESTS_SHARE,
    "guest": int(GUESTS_SHARE * ONE_GUEST),
    "network": int(GUESTS_SHARE * ONE_NETWORK),
    "user": hostile_client.OF_A_USER,
}
RECORDINGS = [base64.b64encode(b"\x1a\x45\xdf\xa3" + bytes(size)).decode() for size in (3_000, 50_000, 200_000)]


@dataclass(eq=False)
class Person:
    """A guest with a token, or a signed-in user."""

    token: str
    address: str
    threads: list[str] = field(default_factory=list)
    sent: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)


class Client:
    """Attacks at random; `check` runs after each step."""

    def __init__(self, stage: Stage, loop: VirtualLoop, seed: int) -> None:
        self.stage, self.loop, self.random = stage, loop, Random(seed)
        self.people = [Person(f"user{n}", f"198.51.100.{n}") for n in range(SIGNED_IN)]
        self.tasks: set[asyncio.Task[Any]] = set()
        self.did: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.guests = self.most_followers = 0

    # Requests

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.ended)

    def ended(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def anybody(self) -> Person:
        """Pick a person, mostly a recent guest (recent guests share addresses) or a signed-in user."""
        some = self.random.choice([self.people[-12:], self.people[-12:], self.people[:SIGNED_IN], self.people])
        return self.random.choice(some)

    def any_process(self) -> Process:
        return self.random.choice(self.stage.processes)

    def send(
        self, person: Person, path: str = "/chatkit", *, body: bytes = b"", method: str = "POST", **headers: str
    ) -> None:
        """Send a request in the background."""
        self.start(self.sent(person, self.any_process(), self.attempt(), path, body, method, headers))

    def attempt(self) -> Attempt:
        """Choose how the model will behave."""
        return Attempt(
            Random(self.random.random()),
            lasts_s=self.random.choice([0, 0.5, 5, 20, 45]),
            calls=self.random.choice([0.0, 0.3, 0.3, 1.0]),
        )

    async def sent(
        self,
        person: Person,
        process: Process,
        attempt: Attempt,
        path: str,
        body: bytes,
        method: str,
        headers: dict[str, str],
    ) -> None:
        self.did["requests"] += 1
        stream = await self.stage.request(
            process, attempt, path, body=body, method=method, token=person.token,
            address=person.address, **headers,
        )  # fmt: skip
        self.statuses[f"{path.split('/')[-1][:8]} {stream.status}"] += 1
        if (
            created := re.search(rb'"type":"thread.created","thread":\{"id":"([^"]+)"', bytes(stream.body))
        ) is not None:
            person.threads.append(created[1].decode())
        assert stream.status < 500 or stream.status == 503, stream.body

    def ask(self, person: Person, operation: str, **params: Any) -> None:
        body = json.dumps({"type": operation, "params": params}).encode()
        headers = {"x_chat_turn": f"turn-{self.random.getrandbits(64):020d}"} if self.random.random() < 0.5 else {}
        person.sent = [*person.sent[-3:], (body, headers)]
        self.send(person, body=body, **headers)

    def text(self) -> str:
        return " ".join(str(self.random.randrange(10)) for _ in range(self.random.choice([1, 20, 200])))

    # Attacks

    def come(self) -> None:
        """Let new guests arrive, several from one address."""
        address = f"192.0.2.{self.random.randrange(ADDRESSES)}"
        for _ in range(min(self.random.randint(1, 6), GUESTS - self.guests)):
            self.guests += 1
            self.start(self.become_guest(address))

    async def become_guest(self, address: str) -> None:
        self.did["requests"] += 1
        attempt = Attempt(Random(0))
        stream = await self.stage.request(self.any_process(), attempt, "/auth/guest", address=address)
        if stream.status == 200:
            self.people.append(Person(json.loads(stream.body)["token"], address))

    def begin(self) -> None:
        """Start new threads of several people at once."""
        for _ in range(self.random.choice([1, 1, 2, 8])):
            self.ask(self.anybody(), "threads.create", input=message(self.text()))

    def add_message(self) -> None:
        """Send a newer message to a thread whose last answer may still be running."""
        person = self.anybody()
        if person.threads:
            self.ask(person, "threads.add_user_message", thread_id=person.threads[-1], input=message(self.text()))

    def retry(self) -> None:
        """Regenerate an answer."""
        person = self.anybody()
        if person.threads:
            thread_id = person.threads[-1]
            self.start(self.retry_first_item(person, thread_id))

    async def retry_first_item(self, person: Person, thread_id: str) -> None:
        body = json.dumps({"type": "items.list", "params": {"thread_id": thread_id, "order": "asc"}}).encode()
        attempt = Attempt(Random(0))
        self.did["requests"] += 1
        listed = await self.stage.request(self.any_process(), attempt, "/chatkit", body=body, token=person.token)
        if listed.status == 200 and (items := json.loads(listed.body)["data"]):
            self.ask(person, "threads.retry_after_item", thread_id=thread_id, item_id=items[0]["id"])

    def duplicate(self) -> None:
        """Send the same bytes again, sometimes several times at once."""
        person = self.anybody()
        if person.sent:
            body, headers = self.random.choice(person.sent)
            for _ in range(self.random.choice([1, 2, 6])):
                self.send(person, body=body, **headers)

    def running(self) -> list[tuple[Person, Stream]]:
        return [(person, stream) for person, stream in self.open_streams() if stream.turn_id]

    def open_streams(self) -> list[tuple[Person, Stream]]:
        by_token = {person.token: person for person in self.people}
        self.stage.all_streams = [stream for stream in self.stage.all_streams if not stream.is_over]
        return [(by_token[stream.token], stream) for stream in self.stage.all_streams if stream.token in by_token]

    def stop(self) -> None:
        """Stop a turn by its id or by its thread's id."""
        if running := self.running():
            person, stream = self.random.choice(running)
            named: dict[str, str] = {"turn_id": stream.turn_id}
            if person.threads and self.random.random() < 0.3:
                named = {"thread_id": person.threads[-1]}
            self.send(person, "/chatkit/stop", body=json.dumps(named).encode())

    def follow(self) -> None:
        """Add readers to a running turn."""
        if running := self.running():
            person, stream = self.random.choice(running)
            for _ in range(self.random.choice([1, 3, 8])):
                self.send(person, f"/chatkit/turns/{stream.turn_id}/events", method="GET")

    def dictate(self) -> None:
        """Send a recording."""
        params = {"audio_base64": self.random.choice(RECORDINGS), "mime_type": "audio/webm"}
        body = json.dumps({"type": "input.transcribe", "params": params}).encode()
        self.send(self.anybody(), body=body)

    async def kill(self) -> None:
        """Kill a process at any point."""
        self.stage.kill(self.any_process())
        if self.random.random() < 0.5:
            await self.kill_repeatedly()

    async def kill_repeatedly(self) -> None:
        """Kill every process that begins to answer one guest, who retries each time, on a new day."""
        await asyncio.sleep(self.left_s() + 1)
        person = self.random.choice(self.people[SIGNED_IN:] or self.people)
        for _ in range(6):
            process = self.any_process()
            body = json.dumps({"type": "threads.create", "params": {"input": message(self.text())}}).encode()
            attempt = Attempt(Random(self.random.random()), lasts_s=45, calls=0)
            self.start(self.sent(person, process, attempt, "/chatkit", body, "POST", {}))
            await asyncio.sleep(4)  # it may wait two seconds to see whether the previous turn has died
            self.stage.kill(process)
            await asyncio.sleep(13)  # until its lease has expired
            self.check("kill")

    def left_s(self) -> float:
        """The seconds left of this day."""
        return DAY_S - self.stage.now_ns() / 1e9 % DAY_S

    def lose(self) -> None:
        """Make the next request to the table fail, or lose its answer."""
        self.any_process().connection.fault = self.random.choice(["before", "after"])

    async def midnight(self) -> None:
        """Start turns at the end of a day with unused tokens that end on the next day."""
        self.stage.expire()
        left_s = self.left_s() + self.random.choice([0, DAY_S])
        await asyncio.sleep(max(0.0, left_s - self.random.choice([0.001, 0.5, 3.0, 20.0])))
        for _ in range(3):
            self.begin()
        await asyncio.sleep(self.random.choice([0.01, 1.0, 10.0]))

    WEIGHTS = (
        ("come", 8), ("begin", 26), ("add_message", 14), ("retry", 5), ("duplicate", 8), ("stop", 14), ("follow", 9),
        ("dictate", 4), ("kill", 1), ("lose", 3), ("midnight", 1.2),
    )  # fmt: skip

    async def attack(self, actions: int) -> None:
        """Attack until `actions` requests were sent, with pauses."""
        names, weights = zip(*self.WEIGHTS, strict=True)
        while self.did["requests"] < actions:
            action = self.random.choices(names, weights)[0]
            self.did[action] += 1
            act: Callable[[], Coroutine[Any, Any, None] | None] = getattr(self, action)
            if (more := act()) is not None:
                await more
            await asyncio.sleep(self.random.choice([0.0, 0.01, 0.3, 1.0, 2.0, 10.0]))
            self.check(action)

    # Checks

    def check(self, action: str) -> None:
        for error in self.errors:
            raise error
        for kind, ceiling in CEILINGS.items():
            assert self.stage.worst[kind] <= ceiling, (
                f"{kind}: {self.stage.worst[kind]} of {ceiling}, after {self.did}, {action}"
            )
        followed: Counter[str] = Counter()
        following: Counter[str] = Counter()
        for person, stream in self.open_streams():
            if stream.follows and self.loop.time() - stream.began_s > NOTICED_S:
                followed[stream.turn_id] += 1
                following[person.token] += 1
        assert max(followed.values(), default=0) <= OF_A_TURN, followed
        assert max(following.values(), default=0) <= OF_A_USER, following
        self.most_followers = max(self.most_followers, *following.values(), 0)

    async def end(self) -> None:
        """Cancel all tasks of the client and the processes, including those of dead processes."""
        for _ in range(5):
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in others:
                    task.cancel()
                await asyncio.wait(others, timeout=60)
            await self.loop.shutdown_asyncgens()
            gc.collect()
            await asyncio.sleep(0)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    logging.disable(logging.CRITICAL)
    yield loop
    logging.disable(logging.NOTSET)
    loop.selector.threads += 1  # the shutdown waits for threads in real time
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # from dead processes
@pytest.mark.parametrize("seed", SEEDS)
def test_no_ceiling_is_exceeded_and_followers_are_few(
    seed: int, loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_admissions(monkeypatch)

    async def attack() -> Client:
        client = Client(Stage(loop, PROCESSES), loop, seed)
        await client.attack(ACTIONS)
        await client.end()
        return client

    client = loop.run_until_complete(attack())
    assert client.stage.worst["stage"] > STAGE * 0.8, "no day came close to its ceiling"
    assert client.most_followers >= OF_A_TURN, "there were too few followers"
    assert loop.time() > 20 * DAY_S, "too few days passed"
    assert min(client.did[action] for action, _ in Client.WEIGHTS) >= ACTIONS / 500, client.did
