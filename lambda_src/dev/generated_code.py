"""`python -P .../generated_code.py FILE`: writes what lambda_src/cold_start/generated.py reads. The build runs it.

It runs in what goes to Lambda, with the Python that will run there: what a cold start compiles, it compiles.
"""

import asyncio
import builtins
import marshal
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

from lambda_src.cold_start import generated

STAGE = {
    "CHAT_TABLE": "recorded",
    "CHAT_BUCKET": "recorded",
    "CHAT_AUTH_ISSUER": "https://recorded.invalid/",
    "CHAT_AUTH_AUDIENCE": "recorded",
}


class Recorder(generated.Generated):
    """Knows nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__({}, {})
        self.texts: set[tuple[str, str]] = set()
        self.patterns: set[tuple[str | bytes, int]] = set()

    def exec(self, text: str, globals_: dict[str, Any], locals_: dict[str, Any]) -> None:
        """As what it replaces."""
        self.texts.add(("exec", text))
        super().exec(text, globals_, locals_)

    def compile(self, text: str, filename: str, mode: str, **options: Any) -> CodeType:  # noqa: ANN401 - as compile()
        """As what it replaces."""
        if filename == generated.FILENAME and not options:
            self.texts.add((mode, text))
        return super().compile(text, filename, mode, **options)

    def pattern(self, pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re's own
        """As what it replaces."""
        if type(pattern) in (str, bytes):
            self.patterns.add((pattern, int(flags)))
        return super().pattern(pattern, flags)


def packed(texts: Iterable[tuple[str, str]], patterns: Iterable[tuple[str | bytes, int]]) -> bytes:
    """The file that knows these; the same ones give the same bytes."""
    compiler: Any = re._compiler  # type: ignore[attr-defined]
    plain = compiler._sre

    def arguments(_: object, flags: int, code: list[int], *others: object) -> tuple[object, ...]:
        return (int(flags), [int(word) for word in code], *others)  # some are ints with a name, which is not kept

    compiler._sre = SimpleNamespace(**{**vars(plain), "compile": arguments})
    try:
        known_patterns = {one: marshal.dumps(generated.plain_pattern(*one)) for one in sorted(patterns, key=repr)}
    finally:
        compiler._sre = plain
    known_texts = {
        (mode, text): marshal.dumps(builtins.compile(text, generated.FILENAME, mode, dont_inherit=True))
        for mode, text in sorted(texts)
    }
    return generated.HEADER + marshal.dumps((known_texts, known_patterns))


def both(one: Recorder, before: bytes) -> tuple[set[tuple[str, str]], set[tuple[str | bytes, int]]]:
    """What it has noted that is also in a file written before."""
    texts, patterns = marshal.loads(before[len(generated.HEADER) :])  # noqa: S302 - the same build's
    return one.texts & set(texts), one.patterns & set(patterns)


def main(file: Path) -> None:
    """Make the handler of a stage and run a canned turn, as a cold start does; write what was compiled meanwhile.

    Where `file` is there, only what it knows too: what depends on the order of a set is another in another process.
    """
    recorder = Recorder()
    generated.stand_in(recorder)
    from lambda_src import composition, prewarm  # noqa: PLC0415 - after the recorder is in its place

    composition.lambda_handler(os.environ | STAGE)
    asyncio.run(prewarm.canned_turn())
    known = both(recorder, file.read_bytes()) if file.exists() else (recorder.texts, recorder.patterns)
    file.write_bytes(packed(*known))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
