"""`chat talk`: talk to a chat from a terminal, a local or a deployed one. Joins endpoint and screen, reads the lines.

Ctrl-C while an answer is written stops it on the server, and the session goes on.
"""

import asyncio
import contextlib
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from rich.console import Console

from lambda_src.cli.talk import rendering
from lambda_src.cli.talk.client import Endpoint, EndpointError, Events, connected
from lambda_src.cli.talk.screen import Screen

LISTED = 20  # threads of /threads, items of /open
ASK_AGAIN_S = 0.5  # a turn that has not begun yet cannot be stopped yet
HELP = """\
/new          begin another thread
/threads      the newest threads
/open N       go on in one of them (N of that list, or an id)
/press N      press a widget's button, or answer a tool's request
/quit         end (Ctrl-D too); Ctrl-C stops an answer
//...         a message that begins with a slash"""


def talk(url: str, *, token: str | None, token_header: str) -> bool:
    """Converse until the input ends; whether all went well. What went wrong was shown."""
    screen = Screen(Console(highlight=False))
    with asyncio.Runner() as runner:
        session = contextlib.AsyncExitStack()
        try:
            endpoint = runner.run(session.enter_async_context(connected(url, token=token, token_header=token_header)))
            lost = Talk(endpoint, screen).converse(runner.run, _lines(screen.console))
            return not lost or sys.stdin.isatty()
        except EndpointError as fault:
            screen.fail(str(fault))
            return False
        finally:
            runner.run(session.aclose())


class Talk:
    """A session: one user, one thread at a time."""

    def __init__(self, endpoint: Endpoint, screen: Screen) -> None:
        self._endpoint, self._screen = endpoint, screen
        self._listed: list[str] = []  # thread ids, as /threads last showed them
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False  # whether the server took a Stop for the turn of the moment

    def converse(self, run: Callable[[Coroutine[Any, Any, None]], None], read: Callable[[], str | None]) -> bool:
        """Until `read` gives None. Whether the last answer failed, for those who talk through a pipe.

        EndpointError: the session cannot begin. What goes wrong later is told, and the session goes on.
        """
        run(self.begin())
        while (line := read()) is not None and line.strip() != "/quit":
            try:
                run(self.take(line.strip()))
            except EndpointError as fault:
                self._screen.fail(str(fault))
            except KeyboardInterrupt:
                self._screen.note("Interrupted.")
        return self._screen.failed

    async def begin(self) -> None:
        """Sign in, and say where we are. EndpointError."""
        guest = await self._endpoint.sign_in()
        if self._screen.console.is_terminal:
            who = "as a guest: when you leave, these threads are out of reach" if guest else "/help lists the commands"
            self._screen.note(f"{self._endpoint.url}, {who}")

    async def take(self, line: str) -> None:
        """One line of the user: a command, or a message. EndpointError."""
        self._screen.failed = False
        match line.split(maxsplit=1):
            case []:
                return
            case ["/help"]:
                self._screen.note(HELP)
            case ["/new"]:
                self._screen.thread_id = None
                self._screen.buttons.clear()
            case ["/threads"]:
                await self._threads()
            case ["/open", which]:
                await self._open(which)
            case ["/press", number]:
                await self._press(number)
            case [word, *_] if word.startswith("/") and not word.startswith("//"):
                self._screen.fail(f"{word} is not a command, or needs an argument; /help lists the commands.")
            case _:
                await self._say(line.removeprefix("/") if line.startswith("//") else line)

    async def _say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        params: dict[str, Any] = {"input": {"content": content, "attachments": [], "inference_options": {}}}
        operation = "threads.create"
        if self._screen.thread_id is not None:
            operation, params["thread_id"] = "threads.add_user_message", self._screen.thread_id
        turn_id = uuid.uuid4().hex
        await self._follow(turn_id, self._endpoint.stream(operation, params, turn_id=turn_id))

    async def _threads(self) -> None:
        page = await self._endpoint.ask("threads.list", limit=LISTED, order="desc")
        self._listed = [thread["id"] for thread in page["data"]]
        for number, thread in enumerate(page["data"], 1):
            here = "*" if thread["id"] == self._screen.thread_id else " "
            when = datetime.fromisoformat(thread["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
            self._screen.note(
                f"{here}{number:3}  {when}  {rendering.clean(thread.get('title') or 'untitled')}", style=""
            )
        if not self._listed:
            self._screen.note("No threads yet.")

    async def _open(self, which: str) -> None:
        if which.isdecimal() and not self._listed:
            await self._threads()
        numbered = which.isdecimal() and 1 <= int(which) <= len(self._listed)
        thread_id = self._listed[int(which) - 1] if numbered else which
        await self._endpoint.ask("threads.get_by_id", thread_id=thread_id)  # a list of items knows no missing thread
        page = await self._endpoint.ask("items.list", thread_id=thread_id, limit=LISTED, order="desc")
        self._screen.thread_id = thread_id
        self._screen.buttons.clear()
        for item in reversed(page["data"]):
            self._screen.item(item)
        if (turn_id := await self._endpoint.turn_in(thread_id)) is not None:
            await self._follow(turn_id, self._endpoint.follow(turn_id))

    async def _press(self, number: str) -> None:
        buttons = self._screen.buttons
        if not number.isdecimal() or not 1 <= int(number) <= len(buttons):
            self._screen.fail(f"There is no button {number} here.")
            return
        button = buttons[int(number) - 1]
        if button.action is None:
            self._screen.buttons = [other for other in buttons if other.item_id != button.item_id]
            form = {"thread_id": self._screen.thread_id, "item_id": button.item_id, "input": button.answer}
            turn_id = uuid.uuid4().hex
            await self._follow(turn_id, self._endpoint.stream("threads.add_structured_input", form, turn_id=turn_id))
            return
        action = {"type": button.action["type"], "payload": button.action.get("payload")}
        params = {"thread_id": self._screen.thread_id, "item_id": button.item_id, "action": action}
        if button.action.get("streaming") is False:
            answer = await self._endpoint.ask("threads.sync_custom_action", **params)
            if answer.get("updated_item"):
                self._screen.item(answer["updated_item"])
            return
        turn_id = uuid.uuid4().hex
        await self._follow(turn_id, self._endpoint.stream("threads.custom_action", params, turn_id=turn_id))

    async def _follow(self, turn_id: str, events: Events) -> None:
        """Show a turn. The first Ctrl-C stops it, and what is kept of it still comes; the second one leaves it."""
        loop, reading = asyncio.get_running_loop(), asyncio.current_task()
        assert reading is not None
        pressed = 0
        self._stopped = False

        def interrupted() -> None:
            nonlocal pressed
            pressed += 1
            if pressed > 1:
                reading.cancel()
                return
            self._screen.note("Stopping ... (Ctrl-C again leaves at once)")
            task = loop.create_task(self._stop(turn_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            with self._screen.turn():
                async with contextlib.aclosing(events):
                    async for event in events:
                        self._screen.show(event)
        except asyncio.CancelledError:
            if pressed < 2:
                raise
            reading.uncancel()
            self._screen.note("Left. What it still says is in the thread: /open shows it.")
        else:
            if self._stopped:
                self._screen.note("Stopped. The part written so far is kept.")
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for task in self._tasks:
                task.cancel()

    async def _stop(self, turn_id: str) -> None:
        try:
            while not await self._endpoint.stop(turn_id):  # noqa: ASYNC110 - the server has no event for us to wait for
                await asyncio.sleep(ASK_AGAIN_S)
            self._stopped = True
        except EndpointError as fault:
            self._screen.fail(str(fault))


def _lines(console: Console) -> Callable[[], str | None]:
    """Lines of standard input, with editing and a history on a terminal; None at its end."""
    asking = sys.stdin.isatty()
    if asking:
        with contextlib.suppress(ImportError):  # some builds of Python have none: lines are then plain
            import readline  # noqa: F401, PLC0415 - its import is what gives input() its editing

    def read() -> str | None:
        while True:
            try:
                return input("\n> " if asking else "")
            except EOFError:
                if asking:
                    console.print()
                return None
            except KeyboardInterrupt:
                console.print("\nCtrl-D ends.", style="dim")

    return read
