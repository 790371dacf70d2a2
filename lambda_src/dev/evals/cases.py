"""The cases of an evaluation: a file of JSON lines, read with all its faults at once. Pure; knows no agent."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lambda_src.errors import ChatError

FAULTS_TOLD = 20  # of a file: enough to mend it in one go


class CasesError(ChatError):
    """A file of cases cannot be read; names each bad line."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as fault:
        raise ValueError(f"is no regular expression: {fault}") from None
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Says(_Strict):
    """A step of the script: the model answers."""

    says: str


class Calls(_Strict):
    """A step of the script: the model calls a tool."""

    calls: str
    arguments: dict[str, Any] = Field(default_factory=dict)


Text = Annotated[str, Field(min_length=1)]


class Case(_Strict):
    """One line: what a user says, one message after another, and what must be so in the last reply.

    Texts are compared without regard to case. A reply that is an error fails, unless `error` expects it.
    """

    say: Text | Annotated[list[Text], Field(min_length=1)]
    name: str = ""
    user: Text = "ann"
    assistant: str = ""  # one of AGENTS; the one without a name if left out
    script: list[Says | Calls] | None = None  # what the model does when no real one is asked
    contains: list[Text] | Text | None = None
    lacks: list[Text] | Text | None = None
    matches: Annotated[str, AfterValidator(_pattern)] | None = None
    tools: list[Text] | None = None  # each of them ran
    not_tools: list[Text] | None = None  # none of them ran
    widgets: Annotated[int, Field(ge=0)] | None = None  # so many were shown
    error: Text | None = None  # a part of what the user is told went wrong

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        expected = (self.contains, self.lacks, self.matches, self.tools, self.not_tools, self.widgets, self.error)
        if not any(part is not None for part in expected):
            raise ValueError("expects nothing; add contains, lacks, matches, tools, not_tools, widgets or error")
        return self

    @property
    def said(self) -> list[str]:
        """The messages, in order."""
        return listed(self.say)


def listed(value: list[str] | str | None) -> list[str]:
    """One, several or none, as a list."""
    return [] if value is None else [value] if isinstance(value, str) else value


def read_cases(lines: Iterable[str], *, file: str) -> list[Case]:
    """The cases of a file; empty lines and lines that begin with # or // are passed over.

    CasesError names every line that is none, or says that there is no case.
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
        more = [f"... and {len(faults) - FAULTS_TOLD} more"] if len(faults) > FAULTS_TOLD else []
        raise CasesError("\n".join(faults[:FAULTS_TOLD] + more))
    if not cases:
        raise CasesError(f"{file} has no case in it: one JSON object a line, for instance "
                         '{"say": "What time is it?", "tools": ["current_time"]}')  # fmt: skip
    return cases


def _sentences(error: ValidationError) -> list[str]:
    """What is wrong with one line; of a value that may be this or that, only the first reading's fault."""
    told: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "json_invalid":
            return [f"not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}"]
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            known = ", ".join(Case.model_fields)
            told.setdefault(name, f"`{name}` is no field of a case; known are {known}")
        elif name == "script":
            told.setdefault(name, '`script` is a list of {"says": text} and {"calls": tool, "arguments": {...}}')
        else:
            text = fault["msg"].removeprefix("Value error, ")
            told.setdefault(name, f"`{name}`: {text[:1].lower()}{text[1:]}" if name else text)
    return list(told.values())
