"""A turn's events on a terminal: deltas as they come, the rest when it is whole. Knows no wire and no command.

On a terminal the answer is rendered while it grows, by rich; into a pipe its words are written as they are.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from lambda_src.cli.talk import rendering
from lambda_src.cli.talk.rendering import Button

FRAMES_PER_S = 12
BELOW = 2  # lines of the window that a growing answer leaves free, so that nothing scrolls while it is drawn again
LEVELS = {"info": "cyan", "warning": "yellow", "danger": "red"}


class Tail:
    """The end of a text that grows, as much of it as the window holds; the whole of it is printed when it is done."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(Markdown(self._text), options.update(height=None), pad=False)
        for line in lines[-max(1, console.height - BELOW) :]:
            yield from line
            yield Segment.line()


class Screen:
    """`show` each event of a turn inside `turn()`. `thread_id` is the thread that was spoken of last."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.thread_id: str | None = None
        self.buttons: list[Button] = []
        self.failed = False  # whether an error was among the events of the last turn
        self._live: Live | None = None
        self._parts: dict[tuple[str, int], str] = {}  # of answers that grow

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While a turn's events come."""
        self.failed = False
        self._parts.clear()
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=FRAMES_PER_S, transient=True) as self._live:
            try:
                yield
            finally:
                self._live.update("")
                self._live = None

    def show(self, event: Mapping[str, Any]) -> None:
        """One event. Types of a later ChatKit are passed over."""
        match event:
            case {"type": "thread.created", "thread": thread}:
                self.thread_id = str(thread["id"])
            case {"type": "thread.item.added", "item": {"type": "workflow", "workflow": {"tasks": [*_, task]}}}:
                self._passing(rendering.line_of(task), kept=True)
            case {"type": "thread.item.updated", "item_id": item_id, "update": update}:
                self._grow(str(item_id), update)
            case {"type": "thread.item.done" | "thread.item.replaced", "item": item}:
                self._done(item)
            case {"type": "progress_update", "text": text}:
                self._passing(rendering.clean(text))
            case {"type": "client_effect", "name": name}:
                self.note(f"(Effect for a page: {rendering.clean(name)})")
            case {"type": "notice", "message": message}:
                title = f"{event['title']}: " if event.get("title") else ""
                self.note(rendering.clean(f"{title}{message}"), style=LEVELS.get(event.get("level", ""), ""))
            case {"type": "error"}:
                self.fail(event.get("message") or "Something went wrong there.")
            case _:
                pass

    def item(self, item: Mapping[str, Any]) -> None:
        """A whole item, as in a thread that is opened."""
        if item["type"] == "user_message":
            self.note(f"\n> {rendering.message_of(item)}", style="bold")
        else:
            self._done(item)

    def note(self, text: str, *, style: str = "dim") -> None:
        """A line of our own."""
        # Under a Live soft_wrap would be its option too, and its height be counted wrong.
        self.console.print(Text(text, style=style), soft_wrap=not self.console.is_terminal)

    def fail(self, text: str) -> None:
        """One clear line about what went wrong."""
        self.failed = True
        self.note(rendering.clean(text), style="red")

    def _grow(self, item_id: str, update: Mapping[str, Any]) -> None:
        match update:
            case {"type": "assistant_message.content_part.text_delta", "content_index": index, "delta": delta}:
                self._parts[item_id, index] = self._parts.get((item_id, index), "") + delta
                if self._live is None:
                    self.console.out(rendering.clean(delta), end="", highlight=False)
                else:
                    self._live.update(Tail(rendering.clean("\n\n".join(self._parts.values()))))
            case {"type": "workflow.task.added" | "workflow.task.updated", "task": task}:
                self._passing(rendering.line_of(task), kept=True)
            case _:
                pass

    def _done(self, item: Mapping[str, Any]) -> None:
        streamed = [key for key in self._parts if key[0] == item["id"]]
        for key in streamed:
            del self._parts[key]
        if self._live is not None:
            self._live.update("")
        match item["type"]:
            case "user_message":
                return  # whoever typed it has seen it
            case "assistant_message" if streamed and self._live is None:
                self.console.out("")
            case "assistant_message":
                self._print(Markdown(rendering.answer_of(item)), plain=rendering.answer_of(item))
            case "widget":
                self._widget(item)
            case "structured_input" if rendering.choices_of(item):
                self._choice(item)
            case _:
                if (note := rendering.note_of(item)) is not None:
                    self.note(note)

    def _widget(self, item: Mapping[str, Any]) -> None:
        self.buttons = [button for button in self.buttons if button.item_id != item["id"]]
        lines = rendering.widget_lines(item["widget"], first=len(self.buttons) + 1)
        self.buttons += rendering.buttons_of(item)
        self._print(Panel(Text("\n".join(lines)), expand=False), plain="\n".join(f"| {line}" for line in lines))

    def _choice(self, form: Mapping[str, Any]) -> None:
        self.buttons = [button for button in self.buttons if button.item_id != form["id"]]
        self.note(rendering.choice_lines(form, first=len(self.buttons) + 1), style="")
        self.buttons += rendering.choices_of(form)

    def _passing(self, text: str, *, kept: bool = False) -> None:
        """What is of interest while it happens; `kept`: it comes again as an item."""
        if self._live is not None:
            self._live.update(Text(text, style="dim"))
        elif not kept:
            self.note(text)

    def _print(self, rich: RenderableType, *, plain: str) -> None:
        if self.console.is_terminal:
            self.console.print(rich)
        else:
            self.console.out(plain, highlight=False)
