"""Parses the cases of an evaluation, a file of JSON lines, and reports all bad lines at once. Pure; knows no agent."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lambda_src.errors import ChatError

MAX_FAULTS = 20  # in the error: enough to fix a file at once


class CasesError(ChatError):
    """A file of cases is invalid. The text lists each bad line."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as fault:
        raise ValueError(f"is not a regular expression: {fault}") from None
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Says(_Strict):
    """A step of the script: the model answers."""

    says: str


class Calls(_Strict):
    """A step of the script: the model calls a tool, by its name or by its title in the page.

    With `returns`, the tool does not run: it returns this text, also to the real model.
    """

    calls: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    returns: str | None = None


Text = Annotated[str, Field(min_length=1)]


class Case(_Strict):
    """One line of the file: the messages of a user, and what the last reply must be like.

    Texts are compared case-insensitively. A reply that is an error fails unless `error` expects it.
    """

    say: Text | Annotated[list[Text], Field(min_length=1)]
    name: str = ""
    user: Text = "ann"
    assistant: str = ""  # one of AGENTS; by default the one without a name
    script: list[Says | Calls] | None = None  # the steps of the model, unless the real one is used
    contains: list[Text] | Text | None = None
    lacks: list[Text] | Text | None = None
    matches: Annotated[str, AfterValidator(_pattern)] | None = None
    tools: list[Text] | None = None  # each of them ran
    not_tools: list[Text] | None = None  # none of them ran
    widgets: Annotated[int, Field(ge=0)] | None = None  # the number of widgets shown
    error: Text | None = None  # a part of the error that the user sees

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        expected = (self.contains, self.lacks, self.matches, self.tools, self.not_tools, self.widgets, self.error)
        if not any(part is not None for part in expected):
            raise ValueError("expects nothing; add contains, lacks, matches, tools, not_tools, widgets or error")
        return self

    @property
    def messages(self) -> list[str]:
        """The messages, in order."""
        return listed(self.say)


def listed(value: list[str] | str | None) -> list[str]:
    """The value as a list."""
    return [] if value is None else [value] if isinstance(value, str) else value


def read_cases(lines: Iterable[str], *, file: str) -> list[Case]:
    """The cases of a file. Skips empty lines and lines that begin with # or //.

    CasesError: the text lists every bad line, or says that there is no case.
    """
    cases: list[Case] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(("#", "//")):
            continue
        try:
            case = Case.model_validate_json(text)
        except ValidationError as error:
            faults += [f"{file}:{number}: {fault}" for fault in _sentences(error)]
        else:
            cases.append(case if case.name else case.model_copy(update={"name": f"line {number}"}))
    if faults:
        more = [f"... and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise CasesError("\n".join(faults[:MAX_FAULTS] + more))
    if not cases:
        raise CasesError(f"{file} has no case in it: write one JSON object per line, such as "
                         '{"say": "What time is it?", "tools": ["current_time"]}')  # fmt: skip
    return cases


def _sentences(error: ValidationError) -> list[str]:
    """The faults of one line. For a union, only the fault of its first type."""
    sentences: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "json_invalid":
            return [f"not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}"]
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            fields = ", ".join(Case.model_fields)
            sentences.setdefault(name, f"`{name}` is not a field of a case; the fields are {fields}")
        elif name == "script":
            sentences.setdefault(
                name,
                '`script` is a list of {"says": text} and {"calls": tool, "arguments": {...}, "returns": text}',
            )
        else:
            text = fault["msg"].removeprefix("Value error, ")
            sentences.setdefault(name, f"`{name}`: {text[:1].lower()}{text[1:]}" if name else text)
    return list(sentences.values())
