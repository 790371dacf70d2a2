"""Moderation hooks: functions in lambda_src/agent/hooks.py that can refuse a message, a guest or a file.

None is shipped; `Hooks` lists the functions (docs/reference/hooks.md). A hook returns None to accept, or a sentence
for the user. If a hook fails, times out or cannot be loaded, the request is refused too. Knows no HTTP, no thread, no
model.
"""

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from typing import Any

from lambda_src.context import User
from lambda_src.errors import ForbiddenError, UnavailableError
from lambda_src.languages import Sentence
from lambda_src.observability.faults import AGENT, defined_at, log_fault, source_of

MODULE = "lambda_src.agent.hooks"
TIMEOUT_S = 8.0  # per call: a message must begin its turn within 10 s (turns.UNBEGUN_S), including the checks

Refusal = str | None
Answer = Refusal | Awaitable[Refusal]


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file attached to a new message. Its size and type are already checked; `data` holds all bytes."""

    name: str
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The functions that a user's folder may define, each plain or async. Plain ones run in a thread.

    `check_message(text, user)` receives all text of a message, or the answers to a form, before anything is stored,
    counted or sent to a model. `check_guest(captcha, address)` receives the page's CAPTCHA token from POST /auth/guest
    ("" if there is none). `check_file(file, user)` receives each file of a message before it is stored.
    """

    check_message: Callable[[str, User], Answer] | None = None
    check_guest: Callable[[str, str], Answer] | None = None
    check_file: Callable[[UploadedFile, User], Answer] | None = None


NAMES = tuple(field.name for field in fields(Hooks))

LoadHooks = Callable[[], Hooks]


def no_hooks() -> Hooks:
    """Hooks that check nothing."""
    return Hooks()


def shipped_hooks() -> Hooks:
    """The hooks of lambda_src/agent/. Raises TypeError if its hooks.py defines none, or a misspelled one.

    Without that file the folder is not imported, so that a guest's token does not wait for the Agents SDK.
    """
    if PathFinder.find_spec(MODULE, [str(AGENT)]) is None:
        return Hooks()
    return checked(vars(importlib.import_module(MODULE)))


def checked(functions: Mapping[str, Any]) -> Hooks:
    """The hooks among the names of a module. Raises TypeError with the reason if they are not valid."""
    named = {name: value for name, value in functions.items() if name.startswith("check_")}
    for name, value in named.items():
        if name not in NAMES:
            raise TypeError(f"hooks.py defines {name}, which is not called: rename it to one of {', '.join(NAMES)}.")
        if not inspect.isfunction(value):
            raise TypeError(f"hooks.py: {name} must be a function.")
    if not named:
        raise TypeError(f"hooks.py defines none of {', '.join(NAMES)}: nothing would be checked.")
    return Hooks(**named)


class Screening:
    """Calls the hooks, which `load` loads on first use. Raises ForbiddenError if a hook refuses.

    Raises UnavailableError if the hooks cannot be loaded, or if a hook fails.
    """

    def __init__(self, load: LoadHooks = no_hooks) -> None:
        self._load = load
        self._hooks: Hooks | None = Hooks() if load is no_hooks else None  # nothing to import, so no thread is needed
        self._loading = asyncio.Lock()

    async def message(self, text: str, user: User) -> None:
        """Check a user's text, if it is not empty."""
        if not text.strip():
            return
        unchecked = "Your message could not be checked, so it was not sent. Try again in a moment."
        hook = (await self._loaded(unchecked)).check_message
        await _call(hook, text, user, refused="This message was refused.", unchecked=unchecked)

    async def guest(self, captcha: str, address: str) -> None:
        """Check a request for a guest token."""
        unchecked = "Guests cannot be checked at the moment. Try again later."
        hook = (await self._loaded(unchecked)).check_guest
        refused = "Guests must pass a check first. Reload the page and try again."
        await _call(hook, captcha, address, refused=refused, unchecked=unchecked)

    async def scans_files(self) -> bool:
        """Whether there is a hook for files, so that `file` needs their bytes."""
        unchecked = (
            "The file that is attached could not be checked, so the message was not sent. Try again in a moment."
        )
        return (await self._loaded(unchecked)).check_file is not None

    async def file(self, file: UploadedFile, user: User) -> None:
        """Check a file."""
        sentence = "The file {name} could not be checked, so the message was not sent. Try again in a moment."
        unchecked = Sentence(sentence, name=repr(file.name))
        refused = Sentence("The file {name} was refused.", name=repr(file.name))
        hook = (await self._loaded(unchecked)).check_file
        await _call(hook, file, user, refused=refused, unchecked=unchecked)

    async def _loaded(self, unchecked: str) -> Hooks:
        if self._hooks is None:
            async with self._loading:
                if self._hooks is None:
                    try:
                        self._hooks = await asyncio.to_thread(self._load)
                    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
                        log_fault("hooks_not_loaded", error)
                        raise UnavailableError(unchecked) from None
        return self._hooks


async def _call(hook: Callable[..., Answer] | None, *arguments: object, refused: str, unchecked: str) -> None:
    if hook is None:
        return
    try:
        async with asyncio.timeout(TIMEOUT_S):
            is_async = inspect.iscoroutinefunction(hook)
            answer = hook(*arguments) if is_async else await asyncio.to_thread(hook, *arguments)
            refusal = await answer if inspect.isawaitable(answer) else answer
        if not isinstance(refusal, str | None):
            raise TypeError(f"A hook returns None or a sentence, not {type(refusal).__name__}.")
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        place = {} if source_of(error) is not None else {"place": defined_at(hook)}
        log_fault("hook_failed", error, hook=hook.__name__, **place)
        raise UnavailableError(unchecked) from None
    if refusal is not None:
        raise ForbiddenError(refusal or refused)
