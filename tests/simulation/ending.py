"""The end of a simulation, when all is quiet: read everything, use every thread once more, sweep, check."""

import asyncio
from typing import TYPE_CHECKING, Any

from tests.simulation import promises
from tests.simulation.clients import Person, Tab
from tests.simulation.history import Send
from tests.simulation.sources import SOURCES

if TYPE_CHECKING:
    from tests.simulation.world import World


async def read_and_check(world: "World") -> None:
    """Read everything, use every thread once more, sweep, and check every promise."""
    if world.history.linked:
        await world.sweep()  # moves what a link had to leave
    threads: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for person in world.people:
        if person.name not in world.history.erasing and (not person.is_guest or person.token):
            threads[person.name] = await _read_all(world, person)
    promises.check(world, threads)
    await _use_threads(world, threads)
    for _ in range(3):
        await asyncio.sleep(1_000)
        world.expire()
        await world.sweep()
    promises.check_rows(world)


async def _read_all(world: "World", person: Person) -> dict[str, list[dict[str, Any]]]:
    tab = Tab(person, 99, is_old=False)
    threads: dict[str, list[dict[str, Any]]] = {}
    after = None
    while True:
        page = await tab.call("threads.list", limit=2, order="asc", after=after)
        for thread in page["data"]:
            threads[thread["id"]] = await _items(tab, thread["id"])
            _check_title(world, thread)
        if not page["has_more"]:
            return threads
        after = page["after"]


def _check_title(world: "World", thread: dict[str, Any]) -> None:
    title = None if thread["id"] in world.history.unclear_titles else world.history.titles.get(thread["id"])
    if title is not None and thread.get("title") != title:
        world.violate("renames-are-kept", f"{thread['id']} is called {thread.get('title')!r}, not {title!r}")


async def _items(tab: Tab, thread_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after = None
    await tab.call("threads.get_by_id", thread_id=thread_id)  # recovers what a crash left
    while True:
        page = await tab.call("items.list", thread_id=thread_id, limit=5, order="asc", after=after)
        items += page["data"]
        if not page["has_more"]:
            return items
        after = page["after"]


async def _use_threads(world: "World", threads: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """A thread that nobody deleted takes another message, and answers it."""
    world.vendor.trouble = 0.0
    for person in [person for person in world.people if not person.is_gone]:
        for thread_id in list(threads.get(person.name, {}))[:2]:
            tab = Tab(person, 98, is_old=False)
            tab.thread_id = thread_id
            send = Send(len(world.history.sends), person.name, "add", thread_id, "", True, SOURCES.now_ns)
            send.text = f"{person.mark} ~m{send.number}~ once more"
            world.history.sends.append(send)
            content = [{"type": "input_text", "text": send.text}]
            message = {"content": content, "attachments": [], "inference_options": {}}
            await tab.say(send, "threads.add_user_message", {"thread_id": thread_id, "input": message})
            promises.check_last(world, send)
