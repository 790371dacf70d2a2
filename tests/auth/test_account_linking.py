"""Account linking: a guest who signs in takes over the guest's threads, once; the hourly event completes it."""

import json
from dataclasses import dataclass

import pytest

from lambda_src.auth import FirstOf, GuestTokens
from lambda_src.auth.account_linking import AT_ONCE_S, AccountLinking, LinkedThreads
from lambda_src.auth.guest_access import Guests
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.scheduled_events import Events
from lambda_src.context import RequestContext, User
from lambda_src.dev.store_contract.samples import file_of, message_of, thread_of
from lambda_src.errors import ConflictError, RequestError
from lambda_src.http.app import create_app
from lambda_src.rotating_secret import Secret
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, known_by_name, message, served, server_with


class Clock:
    """Epoch nanoseconds and monotonic seconds, both set by the test."""

    now_s = 1_800_000_000.0

    def ns(self) -> int:
        return int(self.now_s) * 10**9

    def seconds(self) -> float:
        return self.now_s


@dataclass
class LinkingApp:
    """An app with guests and with users who sign in by name."""

    store: MemoryStore
    chat: Chat
    tokens: GuestTokens
    account_linking: AccountLinking
    clock: Clock

    async def guest(self, *threads: str) -> tuple[str, Chat]:
        """Create a guest with these threads; return the token and a client."""
        token = (await self.tokens.mint()).token
        guest = self.chat.as_(token)
        for text in threads:
            assert (await guest("threads.create", input=message(text))).status == 200
        return token, guest

    async def link(self, user: str | None, token: str) -> Answer:
        """Link the guest to a user, as the page does when the user signs in."""
        return await self.chat.as_(user).post(json.dumps({"guest_token": token}).encode(), "/chatkit/link")

    async def context_of(self, token: str) -> RequestContext:
        """Return the store context of a guest."""
        return RequestContext(await self.tokens(f"Bearer {token}"), "r")


@pytest.fixture
def linking_app() -> LinkingApp:
    clock = Clock()
    store = MemoryStore(clock=clock.ns)
    tokens = GuestTokens(Secret(lambda: "s" * 64))
    turns = Turns(TurnServices(store.ledger, AnswerStore(store), clock=lambda: clock.ns() // 10**6))
    account_linking = AccountLinking(store, turns, now=clock.seconds)
    app = create_app(
        AssistantEndpoint(served(server_with(store)), turns),
        authenticate=FirstOf(tokens, known_by_name),
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        guests=Guests(tokens, MemoryCounters()),
        account_linking=account_linking,
    )
    return LinkingApp(store, Chat(app), tokens, account_linking, clock)


async def titles(chat: Chat) -> list[str]:
    """Return the titles in a user's thread list, sorted."""
    return sorted(thread["title"] for thread in (await chat("threads.list")).json["data"])


async def test_a_guest_who_signs_in_keeps_the_threads(linking_app: LinkingApp) -> None:
    token, guest = await linking_app.guest("one", "two")
    answer = await linking_app.link("ann", token)
    assert (answer.status, answer.json) == (200, {"threads": 2, "left": 0})
    assert await titles(linking_app.chat) == ["one", "two"]
    assert await titles(guest) == []


async def test_a_linked_thread_can_be_continued(linking_app: LinkingApp) -> None:
    token, guest = await linking_app.guest("one")
    thread_id = (await guest("threads.list")).json["data"][0]["id"]
    before = (await guest("items.list", thread_id=thread_id)).json["data"]
    await linking_app.link("ann", token)
    assert (await linking_app.chat("items.list", thread_id=thread_id)).json["data"] == before
    assert (await linking_app.chat("threads.add_user_message", thread_id=thread_id, input=message("on"))).status == 200
    assert len((await linking_app.chat("items.list", thread_id=thread_id)).json["data"]) == len(before) + 2
    assert (await guest("threads.add_user_message", thread_id=thread_id, input=message("on"))).status == 404


async def test_linking_again_changes_nothing_for_the_same_user_and_is_a_409_for_another(
    linking_app: LinkingApp,
) -> None:
    token, _ = await linking_app.guest("one")
    await linking_app.link("ann", token)
    assert (await linking_app.link("ann", token)).json == {"threads": 0, "left": 0}
    assert (await linking_app.link("bob", token)).status == 409
    assert await titles(linking_app.chat.as_("bob")) == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"guest_token": 1}', b'{"guest_token": "x", "more": 1}', b"[]"])
async def test_a_body_without_a_guest_token_is_refused(linking_app: LinkingApp, body: bytes) -> None:
    assert (await linking_app.chat.post(body, "/chatkit/link")).status == 422


async def test_only_a_valid_guest_token_is_accepted(linking_app: LinkingApp) -> None:
    foreign = (await GuestTokens(Secret(lambda: "o" * 64)).mint()).token
    expired = (await GuestTokens(Secret(lambda: "s" * 64), lifetime_s=-3600).mint()).token
    for token in ("", "ann", foreign, expired):
        assert (await linking_app.link("ann", token)).status == 422


async def test_guests_cannot_link_and_users_cannot_be_linked(linking_app: LinkingApp) -> None:
    token, _ = await linking_app.guest("one")
    other, _ = await linking_app.guest()
    assert (await linking_app.link(other, token)).status == 422
    assert (await linking_app.link(None, token)).status == 401
    with pytest.raises(RequestError):
        await linking_app.account_linking.link(User("bob"), RequestContext(User("ann"), "r"))


async def test_a_thread_with_a_running_turn_is_handed_over_by_the_hourly_event(linking_app: LinkingApp) -> None:
    token, guest = await linking_app.guest("one", "two")
    thread_id = (await guest("threads.list")).json["data"][0]["id"]
    context = await linking_app.context_of(token)
    await linking_app.store.ledger.take_lease(thread_id, "turn-that-still-runs", lease_ms=3_000_000, context=context)
    assert (await linking_app.link("ann", token)).json == {"threads": 1, "left": 1}
    await linking_app.store.ledger.end_lease(thread_id, "turn-that-still-runs", context=context)
    swept = await Events(linking_app.store, linking_app.account_linking)({"chat": "sweep"}, Time())
    assert swept == {"swept": 0, "orphans": 0, "moved": 1}
    assert await titles(linking_app.chat) == ["one", "two"]
    assert await linking_app.account_linking.finish(stop=lambda: False) == 0


class Time:
    """A Lambda context with plenty of time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 3_600_000


async def test_a_thread_with_a_crashed_turn_is_handed_over(linking_app: LinkingApp) -> None:
    token, guest = await linking_app.guest("one")
    thread_id = (await guest("threads.list")).json["data"][0]["id"]
    context = await linking_app.context_of(token)
    await linking_app.store.ledger.take_lease(thread_id, "turn-that-has-died", lease_ms=10_000, context=context)
    linking_app.clock.now_s += 60
    assert (await linking_app.link("ann", token)).json == {"threads": 1, "left": 0}


async def test_linking_many_threads_stops_at_the_time_limit_and_the_hourly_event_completes_it(
    linking_app: LinkingApp,
) -> None:
    guest, ann = RequestContext(User("guest", is_guest=True), "r"), RequestContext(User("ann"), "r")
    for number in range(230):
        await linking_app.store.save_thread(thread_of(f"thr_{number}"), guest)
    hand_over = linking_app.store.hand_over

    async def hand_over_in_a_second(*args: object, **kwargs: object) -> bool:
        linking_app.clock.now_s += 1
        return await hand_over(*args, **kwargs)  # type: ignore[arg-type]  # passed on unchanged

    linking_app.store.hand_over = hand_over_in_a_second  # type: ignore[method-assign]  # each call takes a second
    assert await linking_app.account_linking.link(guest.user, ann) == LinkedThreads(
        int(AT_ONCE_S), 230 - int(AT_ONCE_S)
    )
    assert await linking_app.account_linking.finish(stop=lambda: False) == 230 - int(AT_ONCE_S)
    assert await linking_app.account_linking.finish(stop=lambda: False) == 0


async def test_linking_covers_each_assistant_separately_and_excludes_other_users(linking_app: LinkingApp) -> None:
    guest, ann, bob = User("guest", is_guest=True), User("ann"), User("bob")
    for assistant in ("", "sales"):
        await linking_app.store.save_thread(thread_of(f"thr_{assistant}"), RequestContext(guest.at(assistant), "r"))
    assert await linking_app.account_linking.link(guest, RequestContext(ann.at("sales"), "r")) == LinkedThreads(1, 0)
    with pytest.raises(ConflictError):
        await linking_app.account_linking.link(guest, RequestContext(bob, "r"))
    assert await linking_app.account_linking.link(guest, RequestContext(ann, "r")) == LinkedThreads(1, 0)
    for assistant in ("", "sales"):
        assert (
            await linking_app.store.load_thread(f"thr_{assistant}", RequestContext(ann.at(assistant), "r"))
        ).id == f"thr_{assistant}"


async def test_files_are_handed_over_and_removed_from_the_guest(linking_app: LinkingApp) -> None:
    guest, ann = RequestContext(User("guest", is_guest=True), "r"), RequestContext(User("ann"), "r")
    await linking_app.store.save_thread(thread_of(), guest)
    await linking_app.store.add_thread_item("thr_1", message_of(), guest)
    await linking_app.store.save_attachment(file_of("atc_1", thread_id="thr_1"), guest)
    files = Folders({"guest/atc_1"})
    turns = Turns(TurnServices(linking_app.store.ledger, AnswerStore(linking_app.store)))
    account_linking = AccountLinking(linking_app.store, turns, files=files)  # type: ignore[arg-type]  # two of its methods
    await account_linking.link(guest.user, ann)
    assert files.paths == {"ann/atc_1"}


class Folders:
    """A fake attachment store that can copy and delete files."""

    def __init__(self, paths: set[str]) -> None:
        self.paths = paths

    async def copy_to(self, user: User, attachment_id: str, context: RequestContext) -> None:
        assert f"{context.user.id}/{attachment_id}" in self.paths
        self.paths.add(f"{user.id}/{attachment_id}")

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        self.paths.discard(f"{context.user.id}/{attachment_id}")


async def test_a_stage_without_guests_does_not_have_the_route() -> None:
    store = MemoryStore()
    turns = Turns(TurnServices(store.ledger, AnswerStore(store)))
    app = create_app(
        AssistantEndpoint(served(server_with(store)), turns),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
    )
    assert (await Chat(app).post(b'{"guest_token": "x"}', "/chatkit/link")).status == 404
