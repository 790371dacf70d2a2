"""Scenes: somebody says something, and what happens soon after is aimed at the turn that begins.

A scene draws everything from the number of its own step, and whoever is missing in the deployment joins for it: a guest
who signs in, a user whom an operator erases.
"""

import asyncio
import random
from typing import TYPE_CHECKING

from lambda_src.context import RequestContext, User
from tests.simulation.clients import Person, Tab
from tests.simulation.faults import Fate, Window
from tests.simulation.history import Send
from tests.simulation.model import GUARDED, LONG
from tests.simulation.sources import MACHINE, SOURCES

if TYPE_CHECKING:
    from tests.simulation.world import World

ERASE_TRIES = 5
SAYS = {"approve": GUARDED} | dict.fromkeys(("watch", "regenerate", "edit", "terminate", "kill"), LONG)
AFTER_ITS_STREAM = ("watch", "regenerate", "edit", "approve", "delete", "terminate", "kill")
AT_FIRST_S, LATER_S = (0.0, 0.5), (0.3, 4.0)  # after the message


class Scenes:
    """The scenes of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def play(self, kind: str, rng: random.Random) -> None:
        """Somebody says something; the rest of the scene follows."""
        world = self._world
        person = self._actor(kind, rng)
        if person is None:
            return
        idle = [tab for tab in person.tabs if not tab.is_busy]
        is_new = not idle or rng.random() < 0.6  # its thread is in no other step's way
        tab = Tab(person, 93, is_old=False) if is_new else rng.choice(idle)
        send = world.say(tab, rng, new=True if is_new else None, has_sequel=False, more=SAYS.get(kind))
        soon_s = rng.uniform(*(AT_FIRST_S if rng.random() < 0.3 else LATER_S))
        if kind in ("link", "approve"):
            soon_s *= 3  # in half of the cases, no turn runs any more
        few = rng.choice((None, 0, 2, 8)) if kind == "regenerate" else None
        self._soon(kind, tab, send, rng, soon_s if few is None else 0.0, few)

    def _soon(self, kind: str, tab: Tab, send: Send, rng: random.Random, soon_s: float, few: int | None) -> None:
        """Continue after a while; some scenes wait for the stream first, or until only a `few` words are missing."""
        loop = self._world.loop
        is_early = kind in AFTER_ITS_STREAM and send.acked_ns is None
        if few is not None:
            runs = [run for run in self._world.vendor.runs if run.send == send.number and run.kind == "answer"]
            is_early = is_early or not runs or len(runs[-1].words) < runs[-1].planned - few
        if is_early and send.ended_ns is None:
            loop.call_later(0.05, self._soon, kind, tab, send, rng, soon_s, few, context=loop.world)
        else:
            loop.call_later(soon_s, self._follow, kind, tab, rng, context=loop.world)

    def _actor(self, kind: str, rng: random.Random) -> Person | None:
        world = self._world
        match kind:
            case "link":
                return self._joined(is_guest=True)
            case "erase":
                return self._joined(is_guest=False)
            case _:
                people = [person for person in world.people if not person.is_gone]
                return rng.choice(people) if people else None

    def _joined(self, *, is_guest: bool) -> Person:
        """Somebody new."""
        world = self._world
        number = sum(person.is_guest == is_guest for person in world.people)
        person = Person(f"{'g' if is_guest else 'u'}{number}", is_guest, world.web)
        person.tabs = [Tab(person, 0, is_old=False)]
        world.people.append(person)
        return person

    def _follow(self, kind: str, tab: Tab, rng: random.Random) -> None:
        world = self._world
        if world.is_over:
            return
        world.trace.add("scene", kind, tab.name)
        match kind:
            case "watch" if tab.thread_id is not None:
                window = self._window_beside(tab, 97)
                world.act(window.name, window.reload())
            case "regenerate" | "edit" if tab.thread_id is not None and tab.newest_message is not None:
                window = self._window_beside(tab, 96)
                world.ask(window, "retry" if kind == "regenerate" else "edit", window.thread_id, "")
            case "approve" if tab.thread_id is not None and tab.form is not None:
                for _ in range(rng.choice((1, 2))):
                    window = self._window_beside(tab, 94)
                    world.ask(window, "form", window.thread_id, "")
            case "delete":
                world.act(tab.name, tab.delete())
            case "link":
                self.link(tab.person, rng)
                window = self._window_beside(tab, 95)  # which does not know it yet
                again_s = rng.uniform(0, 0.05 + 12 * world.deployment.latency_s)
                world.loop.call_later(again_s, self._say_again, window, rng, context=world.loop.world)
            case "erase":
                self.erase(tab.person, rng)
            case "hiccups":
                self._weather({"hiccup": rng.choice((0.15, 0.4))}, rng.choice((5.0, 15.0, 30.0)))
            case "unclear" | "refused" as fate:
                self._weather({fate: rng.choice((0.1, 0.4))}, rng.choice((1.0, 4.0, 10.0)))
            case "terminate":
                if taken := [sandbox for sandbox in world.function.living if sandbox.is_taken]:
                    rng.choice(taken).terminate()
            case "kill":
                for sandbox in [sandbox for sandbox in world.function.living if sandbox.is_taken]:
                    sandbox.machine.steps_left = rng.choice((0, 1, 5, 20, 60))
                tab.abandon()
                window = self._window_beside(tab, 95)
                again_s = rng.uniform(0.1, 45)
                world.loop.call_later(again_s, self._say_again, window, rng, context=world.loop.world)

    def _weather(self, fates: dict[Fate, float], length_s: float) -> None:
        begins_s = self._world.loop.time()
        self._world.weather.windows.append(Window(begins_s, begins_s + length_s, {}, fates))

    def _say_again(self, tab: Tab, rng: random.Random) -> None:
        if not self._world.is_over:
            self._world.say(tab, rng, new=tab.thread_id is None, has_sequel=False)

    def _window_beside(self, tab: Tab, number: int) -> Tab:
        """Another window of the same person, which shows the same thread."""
        window = Tab(tab.person, number, is_old=False)
        window.thread_id, window.newest_message, window.form = tab.thread_id, tab.newest_message, tab.form
        return window

    def link(self, guest: Person, rng: random.Random) -> None:
        """A guest signs in, as one of the users."""
        world = self._world
        users = [person for person in world.people if not person.is_guest and not person.is_gone]
        if not users or not guest.token:
            return
        user = rng.choice(users)
        world.history.linked[guest.name] = user.name
        guest.is_gone = True
        for tab in guest.tabs:
            tab.abandon()

        async def link() -> None:
            tab = user.tabs[0]
            await tab.retried(lambda: tab.linked(guest.token or ""))

        world.act(f"{user.name} links {guest.name}", link())

    def erase(self, person: Person, rng: random.Random) -> None:
        """An operator erases a person, who has left before."""
        world = self._world
        person.is_gone = True
        for tab in person.tabs:
            tab.abandon()
        world.history.erasing.setdefault(person.name, SOURCES.now_ns)

        async def erase() -> None:
            MACHINE.set(world.operator)
            await asyncio.sleep(rng.choice((0.0, 5.0)))
            context = RequestContext(User(world.user_id(person)), "operator")
            for _ in range(ERASE_TRIES):
                try:
                    async for _removed in world.admin.erase_user(context):
                        pass
                except Exception as error:  # noqa: BLE001 - the operator runs it again
                    world.trace.add("erase", type(error).__name__)
                    await asyncio.sleep(10)
                else:
                    world.history.erased[person.name] = SOURCES.now_ns
                    return

        world.act(f"erase {person.name}", erase())
