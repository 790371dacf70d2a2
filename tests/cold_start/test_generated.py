"""What the build compiled is what Python would have compiled, and is taken only where it fits."""

import ast
import dataclasses
import marshal
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.cold_start import generated
from lambda_src.dev.generated_code import Recorder, packed
from tests.cold_start.conftest import Run

WATCHED = """
import dataclasses, re, sys, typing
from pathlib import Path
from lambda_src.cold_start import generated
used = generated.use(Path("generated.bin"))
compiled = []
sys.addaudithook(lambda event, arguments: event == "compile" and compiled.append(arguments[1]))
"""
DEFINED = """
@dataclasses.dataclass(order=True, frozen=True)
class Fruit:
    name: str
    price: int = 3
    tags: list = dataclasses.field(default_factory=list)
hints = typing.get_type_hints(type("Hinted", (), {"__annotations__": {"one": "dict[str, int]"}}))
found = re.compile(r"(?P<word>[a-z]+)-\\d+", re.IGNORECASE)
"""
USED = """
print(Fruit("a") < Fruit("b"), Fruit("a", 1), hints, found.match("x ab-12", 2).groupdict(), found.flags, found.groups)
"""


@pytest.fixture
def unwatched() -> Iterator[None]:
    """Whatever a test lets stand in is gone after it."""
    yield
    generated.stand_back()
    re.purge()


@pytest.fixture
def recorder(unwatched: None) -> Recorder:
    recorder = Recorder()
    generated.stand_in(recorder)
    return recorder


@pytest.fixture
def file(recorder: Recorder, tmp_path: Path) -> Path:
    """What a build would write of DEFINED."""
    re.purge()
    exec(DEFINED, {"dataclasses": dataclasses, "re": re, "typing": typing, "__name__": "defined"})
    file = tmp_path / "generated.bin"
    file.write_bytes(packed(recorder.texts, recorder.patterns))
    return file


def test_what_is_known_is_not_compiled_again(file: Path, run: Run) -> None:
    """If this fails, Python has changed: what the build compiles is no longer asked for."""
    program = f"{WATCHED}{DEFINED}\nprint(used, [one for one in compiled if one in ('<string>', None)])"
    assert run(program) == "True []"
    file.unlink()
    assert run(program).startswith("False ['<string>'")


def test_a_pattern_that_is_known_is_not_parsed(file: Path, run: Run) -> None:
    """As above."""
    program = (
        f"{WATCHED}parsed = []\nusual = re._parser.parse\nre._parser.parse = lambda *a: parsed.append(a) or usual(*a)"
    )
    assert run(f"{program}\n{DEFINED}\nprint(len(parsed))") == "0"
    file.unlink()
    assert run(f"{program}\n{DEFINED}\nprint(len(parsed))") == "1"


def test_when_all_is_loaded_python_compiles_for_itself_again(file: Path, run: Run) -> None:
    program = f"{WATCHED}\ngenerated.stand_back()\n{DEFINED}\nprint(compiled[:1], vars(dataclasses).get('exec'))"
    assert run(program) == "['<string>'] None"
    told = run(
        """
        import asyncio, dataclasses, re, typing
        from lambda_src.cold_start import generated
        from lambda_src.late_server import LateServer
        generated.stand_in(generated.Generated({}, {}))
        server = LateServer(lambda: "the server", None, checks=None, answers=None)
        print("exec" in vars(dataclasses), asyncio.run(server.loaded()))
        print("exec" in vars(dataclasses), "compile" in vars(typing), re._compiler.compile is generated.plain_pattern)
        """
    )
    assert told.splitlines() == ["True the server", "False False True"]


def test_it_comes_to_the_same(file: Path, run: Run) -> None:
    known = run(WATCHED + DEFINED + USED)
    file.unlink()
    assert known == run(WATCHED + DEFINED + USED)


def test_what_is_not_known_is_compiled_as_ever(unwatched: None) -> None:
    generated.stand_in(generated.Generated({}, {}))

    @dataclass
    class Plain:
        name: "str"
        tags: list[str] = field(default_factory=list)

    assert Plain("a") == Plain("a", [])
    assert typing.get_type_hints(Plain)["name"] is str
    assert re.compile("a(?=b)").match("ab")
    with pytest.raises(SyntaxError, match="Forward reference must be an expression"):
        typing.ForwardRef("no expression")
    with pytest.raises(re.error, match="unterminated"):
        re.compile("[a")


@pytest.mark.parametrize(
    "content", [b"", b"another Python's", MAGIC_NUMBER + b"1\n", generated.HEADER, generated.HEADER + b"("]
)
def test_a_file_that_is_broken_or_another_pythons_is_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "generated.bin").write_bytes(content)
    assert not generated.use(tmp_path / "generated.bin")
    assert "exec" not in vars(dataclasses)


def test_a_pattern_of_another_release_is_compiled_anew(unwatched: None) -> None:
    broken = marshal.dumps((0, [1, 2, 3], 0, {}, (None,)))
    generated.stand_in(generated.Generated({}, {("a+b", 0): broken}))
    assert re.compile("a+b").fullmatch("aab")


def test_the_same_texts_give_the_same_bytes(recorder: Recorder) -> None:
    recorder.texts |= {("eval", "str"), ("exec", "def f(): pass"), ("eval", "dict[str, int]")}
    recorder.patterns |= {("a", 0), (b"a", 0), ("a", 2)}
    again = Recorder()
    again.texts, again.patterns = set(recorder.texts), set(recorder.patterns)
    assert packed(recorder.texts, recorder.patterns) == packed(again.texts, again.patterns)


FLAGS = [0, re.IGNORECASE, re.MULTILINE | re.DOTALL, re.VERBOSE, re.ASCII]


@given(
    pattern=st.from_regex(r"(\(\?P<n>)?[a-z.*+?\[\]^|\\()\d]{1,8}\)?", fullmatch=True),
    flags=st.sampled_from(FLAGS),
    text=st.text("ab.1\n"),
)
def test_any_pattern_finds_the_same(pattern: str, flags: int, text: str) -> None:
    try:
        plain = generated.plain_pattern(pattern, int(flags))
    except (re.error, OverflowError):
        return
    content = packed([], [(pattern, int(flags))])
    known = generated.Generated(*marshal.loads(content[len(generated.HEADER) :])).pattern(pattern, int(flags))
    assert (known.pattern, known.flags, known.groups, dict(known.groupindex)) == (
        plain.pattern,
        plain.flags,
        plain.groups,
        dict(plain.groupindex),
    )
    assert [found.span() for found in known.finditer(text)] == [found.span() for found in plain.finditer(text)]


def test_a_mode_is_part_of_what_is_known() -> None:
    known = generated.Generated({("eval", "a"): b"never read"}, {})
    assert isinstance(known.compile("a", generated.FILENAME, "exec"), type((lambda: 0).__code__))
    assert known.compile("a", "other.py", "eval").co_filename == "other.py"
    assert isinstance(known.compile("a", generated.FILENAME, "eval", flags=ast.PyCF_ONLY_AST), ast.Expression)
