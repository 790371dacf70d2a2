"""What a thread holds, as text for a terminal: items, widgets, tasks. Pure; knows no console and no wire.

Whatever people, models and tools wrote loses its control characters: a terminal would obey them.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

Json = Mapping[str, Any]
ROWS = ("Row", "ListViewItem")  # what stands side by side
INPUTS = ("Input", "Textarea", "Select", "DatePicker", "RadioGroup", "Checkbox")


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press in an item: a widget's action, or a form's answer as ChatKit's submission."""

    item_id: str
    label: str
    action: Json | None = None
    answer: Json | None = None


def clean(text: object) -> str:
    """`text` without control and formatting characters, line ends and tabs aside."""
    return "".join(c for c in str(text) if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def answer_of(item: Json) -> str:
    """An assistant's message as Markdown, its sources below it."""
    parts = [part["text"] for part in item["content"]]
    sources = [_source(annotation["source"]) for part in item["content"] for annotation in part.get("annotations", [])]
    listed = "\n".join(f"{number}. {source}" for number, source in enumerate(dict.fromkeys(sources), 1))
    return clean("\n\n".join([*parts, *([f"Sources:\n\n{listed}"] if listed else [])]))


def message_of(item: Json) -> str:
    """A user's message, and what came with it."""
    words = "".join(part["text"] for part in item["content"])
    files = "".join(f"\n[file: {attachment['name']}]" for attachment in item.get("attachments", []))
    return clean(words + files)


def note_of(item: Json) -> str | None:
    """Every other item, but widgets, as a line or a few; None for what has nothing to see."""
    match item["type"]:
        case "task":
            return task_of(item["task"])
        case "workflow":
            summary = item["workflow"].get("summary") or {}
            title = clean(summary.get("title") or "Steps")
            steps = [task_of(task) for task in item["workflow"].get("tasks", [])]
            if steps == [f"✓ {title}"]:
                return steps[0]
            return "\n".join([title, *(f"  {step}".replace("\n", "\n  ") for step in steps)])
        case "generated_image":
            return f"[image: {clean((item.get('image') or {}).get('url', 'not there'))}]"
        case "client_tool_call" if item.get("status") == "pending":
            return (
                f"The assistant asks the page for {clean(item['name'])}; a terminal has none. Say something to go on."
            )
        case "structured_input" if item.get("status", "pending") == "pending":
            return "\n".join([*map(_question, item["inputs"]), "A form: answer it on the page, or say something else."])
        case _:
            return None


def task_of(task: Json) -> str:
    """A step: its mark, its title, its content or what it looked for. Content of several lines follows, indented."""
    mark = {"loading": "…", "complete": "✓"}.get(task.get("status_indicator", ""), "-")
    sources = [_source(source) for source in task.get("sources", [])]
    content = task.get("content") or ""
    below = "\n" + content if "\n" in content else ""
    details = ["" if below else content, ", ".join(task.get("queries", [])), ", ".join(sources)]
    line = " ".join([mark, ": ".join(part for part in [task.get("title"), *details] if part)])
    return clean(line + below.replace("\n", "\n    "))


def line_of(task: Json) -> str:
    """The first line of a step, for a place where it is replaced by the next one."""
    return task_of(task).partition("\n")[0]


def widget_lines(widget: Json, *, first: int = 1) -> list[str]:
    """A widget's words, one line each; what stands in a row stands in a line.

    What can be pressed stands in brackets with its number, `first` and up, in the order of `buttons_of`.
    """
    lines = (clean(line).rstrip() for line in _lines(widget, count(first)))
    return [line for line in lines if line]


def buttons_of(item: Json) -> list[Button]:
    """What can be pressed in a widget's item, in the order in which it is shown."""
    return [
        Button(item["id"], clean(part.get("label") or _name(part)), part["onClickAction"])
        for part in _parts(item["widget"])
        if isinstance(part.get("onClickAction"), dict)
    ]


def choices_of(form: Json) -> list[Button]:
    """The options of a pending form with a single choice, such as a tool's approval; other forms need a page."""
    inputs = form["inputs"]
    if form.get("status", "pending") != "pending" or len(inputs) != 1 or not inputs[0].get("options"):
        return []
    values = [option["value"] for option in inputs[0]["options"]]
    return [
        Button(
            form["id"], clean(value), answer={"status": "answered", "answers": {inputs[0]["id"]: {"values": [value]}}}
        )
        for value in values
    ]


def choice_lines(form: Json, *, first: int) -> str:
    """The question of such a form, and its options with their numbers."""
    options = "  ".join(f"[{number} {button.label}]" for number, button in enumerate(choices_of(form), first))
    return f"{clean(form['inputs'][0]['question'])}\n{options}"


def _lines(part: Json, numbers: Iterator[int]) -> Iterator[str]:
    kind = part.get("type")
    if isinstance(part.get("onClickAction"), dict):
        number = next(numbers)  # before those inside, as buttons_of counts
        inside = [line for child in _children(part) for line in _lines(child, numbers)]
        yield f"[{number} {part.get('label') or ' '.join(inside) or _name(part)}]"
        return
    if kind in ROWS:
        yield "  ".join(line for child in _children(part) for line in _lines(child, numbers))
        return
    if kind in INPUTS:
        yield f"[{part.get('label') or part.get('placeholder') or part.get('name') or kind}: ____]"
    elif kind == "Divider":
        yield "---"
    elif kind == "Image":
        yield f"[image: {part.get('alt') or part.get('src', '')}]"
    elif kind == "Chart":
        yield f"[chart of {len(part.get('data') or [])} rows]"
    elif isinstance(text := part.get("value", part.get("label")), str):
        yield text
    for child in _children(part):
        yield from _lines(child, numbers)


def _parts(part: Json) -> Iterator[Json]:
    """The part and everything in it, from the outside in."""
    yield part
    for child in _children(part):
        yield from _parts(child)


def _children(part: Json) -> list[Json]:
    """What stands inside; a card's own two buttons, which are no components, come last."""
    children = part.get("children") or []
    own = [
        {"type": "Button", "label": part[name].get("label", name), "onClickAction": part[name].get("action")}
        for name in ("confirm", "cancel")
        if isinstance(part.get(name), dict)
    ]
    return [*(children if isinstance(children, list) else [children]), *own]


def _name(part: Json) -> str:
    return str(part["onClickAction"].get("type", "press"))


def _source(source: Json) -> str:
    where = source.get("url") or source.get("filename")
    title = source.get("title") or where or ""
    return f"{title} ({where})" if where and where != title else title


def _question(question: Json) -> str:
    options = " / ".join(option["value"] for option in question.get("options", []))
    return clean(f"? {question['question']}{f' ({options})' if options else ''}")
