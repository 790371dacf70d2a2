"""The settings that are JSON objects: the page, quotas, guests and operators. Each has its fields and its parser.

A parser takes the text of a variable, and raises ValueError with the end of a sentence that begins with its name.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

GUEST_TURN_TOKENS = 8_000  # of history; a message has as many characters, and an answer a quarter as many tokens
UNANSWERED = "Nobody is available at the moment. Your request stays open, and somebody will answer here."


def suggestion(name: str, names: tuple[str, ...], label: Callable[[str], str]) -> str:
    """The end of a sentence about an unknown name: the setting that was probably meant, or all settings."""
    import difflib  # noqa: PLC0415 - only needed for an error, so not on the cold path

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f"did you mean {label(near[0])}" if near else f"known are {', '.join(map(label, names))}"


def bounds_problem(number: object, least: int, most: int | None) -> str | None:
    """The rest of a sentence about a number that is out of bounds; None if it is not."""
    if type(number) is int and number >= least and (most is None or number <= most):
        return None
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    return f"must be a whole number {bounds}, and is {number!r}"


def _object(value: str, names: Collection[str], *, example: str) -> dict[str, Any]:
    """The JSON object in `value`, which has only these names."""
    try:
        given = json.loads(value)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError(f"must be a JSON object such as {example}, and is {value!r}")
    for name in given:
        if name not in names:
            raise ValueError(f"has no {name}; {suggestion(name, tuple(names), str)}")
    return given


def _names_of(cls: type) -> tuple[str, ...]:
    return tuple(option.name for option in fields(cls))


def _limit(*, default: int = 0, least: int = 0, most: int | None = None) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """The page's looks and words: infra/stage/sections.py explains each."""

    title: str | None = None  # None: the language's own, as for the greeting and the disclaimer
    greeting: str | None = None
    prompts: tuple[Mapping[str, str], ...] = ()  # label and prompt
    assistants: tuple[Mapping[str, Any], ...] = ()  # name, label, and what differs from the page
    labels: tuple[Mapping[str, str], ...] = ()  # name and label of models and tools
    accent: str | None = None  # #rrggbb
    logo: str | None = None  # a file in lambda_src/agent/
    disclaimer: str | None = None
    privacy_url: str | None = None
    languages: tuple[str, ...] = ()  # the first is for users who read none of them; empty: all


PROMPT = ("label", "prompt")
_PAGE_ASSISTANT = {"name", "label", "greeting", "prompts", "models", "tool_choices"}


def page(value: str) -> PageSettings:
    given = _object(value, _names_of(PageSettings), example='{"title": "Shop help"}')
    for name, content in given.items():
        if name not in ("prompts", "assistants", "labels", "languages") and not isinstance(content, str):
            raise ValueError(f"is wrong: {name} must be a text, and is {content!r}")
    pairs: dict[str, Any] = {}
    for name, keys in (("prompts", PROMPT), ("labels", ("name", "label"))):
        listed = given.get(name, [])
        if not isinstance(listed, list) or not all(_has_texts(each, keys) for each in listed):
            raise ValueError(f"is wrong: {name} must be a list of objects with {' and '.join(keys)}, and is {listed!r}")
        pairs[name] = tuple(listed)
    assistants = given.get("assistants", [])
    if not isinstance(assistants, list) or not all(map(_is_page_assistant, assistants)):
        raise ValueError(f"is wrong: assistants must be a list of objects with name and label, and is {assistants!r}")
    logo = given.get("logo", "logo.png")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(png|jpe?g|webp|svg)", logo):
        raise ValueError(f"is wrong: logo must be the name of a picture in lambda_src/agent/, and is {logo!r}")
    languages = given.get("languages", [])
    if not isinstance(languages, list) or not all(isinstance(code, str) for code in languages):
        raise ValueError(f'is wrong: languages must be a list such as ["en", "de"], and is {languages!r}')
    return PageSettings(**{**given, **pairs, "assistants": tuple(assistants), "languages": tuple(languages)})


def _has_texts(value: object, keys: Sequence[str]) -> bool:
    if not isinstance(value, dict) or value.keys() != set(keys):
        return False
    return all(isinstance(text, str) and text.strip() for text in value.values())


def _is_page_assistant(value: object) -> bool:
    if not isinstance(value, dict) or not {"name", "label"} <= value.keys() <= _PAGE_ASSISTANT:
        return False
    texts = (value["name"], value["label"], value.get("greeting") or "")
    prompts = value.get("prompts") or []
    names = [value.get("models") or [], value.get("tool_choices") or []]
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(prompts, list)
        and all(_has_texts(prompt, PROMPT) for prompt in prompts)
        and all(isinstance(listed, list) and all(isinstance(name, str) for name in listed) for listed in names)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """Usage limits per user and for the stage; 0 means no limit."""

    messages_per_minute: int = _limit()
    messages_per_day: int = _limit()
    running_turns: int = _limit()
    tokens_per_day: int = _limit()
    stage_tokens_per_day: int = _limit()
    files_per_day: int = _limit()
    file_bytes_per_day: int = _limit()
    max_output_tokens: int = _limit()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestQuotaSettings:
    """Limits for guests: infra/stage/sections.py explains each."""

    messages_per_day: int = _limit(default=20)
    tokens_percent: int = _limit(default=25, least=1, most=100)
    turn_tokens: int = _limit(default=GUEST_TURN_TOKENS, least=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """The support side: infra/stage/sections.py explains each."""

    claim: str | None = None
    value: str | None = None
    assistants: tuple[str, ...] = ("",)
    handoff_wait_minutes: int = _limit(default=5, least=1, most=1440)
    unanswered_message: str = UNANSWERED


def operators(value: str) -> OperatorSettings:
    given = _object(value, _names_of(OperatorSettings), example='{"claim": "groups", "value": "support"}')
    claim, wanted, assistants = given.get("claim"), given.get("value"), given.get("assistants", [""])
    if (claim is None) != (wanted is None):
        raise ValueError("needs claim and value together: which claim, with which value, makes an operator")
    for name, text in (("claim", claim), ("value", wanted)):
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise ValueError(f"is wrong: {name} must be a text, and is {text!r}")
    if not isinstance(assistants, list) or not assistants or not all(isinstance(name, str) for name in assistants):
        raise ValueError(
            'is wrong: assistants must be a list of names, "" for the assistant without one, and is ' + repr(assistants)
        )
    limits = {option.name: option.metadata for option in fields(OperatorSettings) if option.metadata}
    for name, bounds in limits.items():
        if name in given and (problem := bounds_problem(given[name], **bounds)) is not None:
            raise ValueError(f"is wrong: {name} {problem}")
    sentence = given.get("unanswered_message", UNANSWERED)
    if not isinstance(sentence, str) or not sentence.strip():
        raise ValueError(f"is wrong: unanswered_message must be a text, and is {sentence!r}")
    return OperatorSettings(**{**given, "assistants": tuple(dict.fromkeys(assistants))})


def quotas(cls: type[QuotaSettings] | type[GuestQuotaSettings]) -> Callable[[str], object]:
    """A parser for a JSON object with the fields of `cls`, which are whole numbers."""
    limits = {limit.name: limit.metadata for limit in fields(cls)}

    def parse(value: str) -> object:
        given = _object(value, limits, example='{"messages_per_day": 20}')
        for name, number in given.items():
            if (problem := bounds_problem(number, **limits[name])) is not None:
                raise ValueError(f"is wrong: {name} {problem}")
        return cls(**given)

    return parse
