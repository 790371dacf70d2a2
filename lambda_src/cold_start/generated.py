"""What Python's own library compiles while others are imported: the build has compiled it, as it has all other code.

A dataclass's methods and an annotation in quotes are text that `dataclasses` and `typing` hand to the compiler; a
pattern goes to that of `re`. 2,000 of them are a seventh of a cold start. What the file does not know is compiled as
ever, and so is everything where there is no file, as on a laptop, or where another Python wrote it.
"""

import _sre  # type: ignore[import-not-found]  # in C: nobody has written down its types
import builtins
import dataclasses
import marshal
import re
import typing
from collections.abc import Mapping
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType
from typing import Any

FILENAME = "<string>"  # which `dataclasses` and `typing` give the code that they compile
HEADER = MAGIC_NUMBER + b"%d\n" % _sre.MAGIC  # of bytecode, of patterns: what either Python or its `re` understands

Texts = Mapping[tuple[str, str], bytes]  # (mode, text) -> its code, marshalled
Patterns = Mapping[tuple[str | bytes, int], bytes]  # (pattern, flags) -> _sre.compile's other arguments, marshalled

# A private name, and one that mypy does not know: without it patterns are compiled as ever.
_compiler: Any = getattr(re, "_compiler", None)
plain_pattern: Any = getattr(_compiler, "compile", None)


class Generated:
    """What is known, and how it stands in for the three compilers."""

    def __init__(self, texts: Texts, patterns: Patterns) -> None:
        self._texts, self._patterns = texts, patterns

    def exec(self, text: str, globals_: dict[str, Any], locals_: dict[str, Any]) -> None:
        """In the place of the builtin that `dataclasses` calls."""
        known = self._texts.get(("exec", text))
        builtins.exec(text if known is None else marshal.loads(known), globals_, locals_)  # noqa: S102, S302 - from the zip

    def compile(self, text: str, filename: str, mode: str, **options: Any) -> CodeType:  # noqa: ANN401 - as compile()
        """In the place of the builtin that `typing` calls."""
        known = self._texts.get((mode, text)) if filename == FILENAME and not options else None
        code: CodeType = (
            builtins.compile(text, filename, mode, **options) if known is None else marshal.loads(known)  # noqa: S302
        )
        return code

    def pattern(self, pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401 - str, bytes or what `re` has parsed
        """In the place of what `re` calls; `_sre` checks what it is handed."""
        known = self._patterns.get((pattern, flags)) if isinstance(pattern, str | bytes) else None
        if known is not None:
            try:
                return _sre.compile(pattern, *marshal.loads(known))  # noqa: S302 - as above
            except (TypeError, ValueError, RuntimeError):
                pass  # another release's: the plain path takes it
        return plain_pattern(pattern, flags)


def use(file: Path) -> bool:
    """Take from `file` what is asked for from here on; False when it is missing, broken or another Python's."""
    try:
        content = file.read_bytes()
        if not content.startswith(HEADER):
            return False
        texts, patterns = marshal.loads(content[len(HEADER) :])  # noqa: S302 - as bytecode is, from the zip
    except (FileNotFoundError, EOFError, ValueError, TypeError):
        return False
    stand_in(Generated(texts, patterns))
    return True


def stand_in(generated: Generated) -> None:
    """Let the three ask it, until `stand_back`. A name of a module comes before the builtin of that name."""
    dataclasses.exec = generated.exec  # type: ignore[attr-defined]
    typing.compile = generated.compile  # type: ignore[attr-defined]
    if plain_pattern is not None:
        _compiler.compile = generated.pattern


def stand_back() -> None:
    """Let the three compile for themselves again. What was known is gone with it: 4 MB."""
    for module, name in ((dataclasses, "exec"), (typing, "compile")):
        vars(module).pop(name, None)
    if plain_pattern is not None:
        _compiler.compile = plain_pattern
