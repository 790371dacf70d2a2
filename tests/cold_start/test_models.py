"""Models that are built late are the same models: what they take, what they say, what they refuse."""

from pathlib import Path

import pytest

from tests.cold_start.conftest import Run

LATE = """
import sys
from lambda_src.cold_start.finder import Finder
from lambda_src.cold_start.models import LateModels
sys.meta_path.insert(0, Finder(LateModels, {"shapes"}.__contains__))
"""
SHAPES = """
from __future__ import annotations
from typing import Generic, Optional, TypeVar, Union
from typing_extensions import TypedDict
from pydantic import BaseModel, ConfigDict, TypeAdapter
T = TypeVar("T")
class Point(BaseModel):
    x: int
class Tree(BaseModel):
    point: Point
    below: list[Tree] = []
    later: Optional[Later] = None
class Later(BaseModel):
    tree: Optional[Tree] = None
class Box(BaseModel, Generic[T]):
    inside: T
class Loose(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")
    x: int
class Plain(BaseModel, Generic[T]):
    inside: Optional[T] = None
class Boxes(BaseModel, Generic[T]):
    all: list[Box[T]] = []
    first: Optional[Box[Unknown]] = None
class Unknown(BaseModel):
    x: int
class Own(BaseModel):
    model_config = ConfigDict(defer_build=False)
    x: int
Tree.model_rebuild()
Later.model_rebuild()
numbers = Boxes[int]
plain = Plain[int]
points = TypeAdapter(Union[Point, list[Point]])
named = TypeAdapter(list["Point"])
strict = TypeAdapter(list[int], config=ConfigDict(strict=True))
loose = TypeAdapter(Loose)
def within():
    class Local(BaseModel):
        x: int
    class Of(BaseModel):
        local: "Elsewhere"
    Elsewhere = Local
    Of.model_rebuild()
    class Some(BaseModel, Generic[T]):
        local: "Nowhere"
        inside: T
    Nowhere = Local
    return TypeAdapter(list["Local"]), Of, Some[int]
local, of_local, some_local = within()
"""
INIT = """
_usual = pydantic.TypeAdapter.__init__
def init(self, type, *, config=None, depth=2, module=None):
    _usual(self, type, config=config, _parent_depth=depth + 1, module=module)
pydantic.TypeAdapter.__init__ = init
"""
USES = [
    "shapes.Point(x='1')",
    "shapes.Point.model_validate_json('{\"x\": 1}').model_dump_json()",
    "shapes.Point(x='one')",
    "shapes.Tree(point={'x': 1}, below=[{'point': {'x': 2}}], later={'tree': None})",
    "shapes.Tree.model_json_schema()",
    "shapes.Box[shapes.Point](inside={'x': '1'})",
    "shapes.Box[int](inside='a')",
    "shapes.points.validate_python([{'x': 1}])",
    "shapes.points.validate_python('no')",
    "shapes.points.dump_json(shapes.Point(x=1))",
    "shapes.strict.validate_python(['1'])",
    "shapes.loose.validate_python({'x': 1, 'y': 2})",
    "shapes.within()[0].validate_python([{'x': 1}])",
    "shapes.named.validate_python([{'x': '1'}])",
    "shapes.local.validate_python([{'x': '1'}])",
    "shapes.of_local(local={'x': '1'})",
    "shapes.some_local(local={'x': '1'}, inside='2')",
    "shapes.some_local(local={'x': '1'}, inside='b')",
    "shapes.numbers(all=[{'inside': '1'}], first={'inside': {'x': 1}})",
    "shapes.numbers(all=[{'inside': 'a'}])",
    "shapes.numbers.model_json_schema()",
    "shapes.Boxes[shapes.Point](all=[{'inside': {'x': 1}}])",
    "shapes.Later.model_rebuild(force=True)",
    "shapes.Own(x=1)",
    "(shapes.Tree.model_fields['below'].default, shapes.Tree.__signature__)",
    "__import__('pickle').loads(__import__('pickle').dumps(shapes.Point(x=1)))",
    "type('More', (shapes.Point,), {'__annotations__': {'y': int}})(x=1, y='2')",
    "type('More', (shapes.Tree,), {'__annotations__': {'y': int}})(point={'x': 1}, later={}, y='2')",
    "type('More', (shapes.Boxes[int],), {'__annotations__': {'y': int}})(first={'inside': {'x': 1}}, y='2')",
    "(shapes.Tree.model_fields['later'].annotation, shapes.Boxes.model_fields['first'].annotation)",
]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(SHAPES)
    return tmp_path


def test_every_use_comes_to_the_same(shapes: Path, run: Run) -> None:
    program = f"""
import shapes
for use in {USES!r}:
    try:
        print(repr(eval(use)))
    except Exception as error:
        print(type(error).__name__, error)
"""
    late, plain = run(LATE + program), run(program)
    assert late == plain
    assert len(plain.splitlines()) > len(USES)


def test_nothing_is_built_before_its_use_and_nothing_else_is_late(shapes: Path, run: Run) -> None:
    told = run(
        f"""{LATE}
import shapes
from pydantic import BaseModel, TypeAdapter
class After(BaseModel):
    x: int
print(shapes.Point.__pydantic_complete__, shapes.points.pydantic_complete, shapes.Own.__pydantic_complete__)
print(shapes.Plain.__pydantic_complete__, shapes.plain.__pydantic_complete__)
print(After.__pydantic_complete__, TypeAdapter(list[int]).pydantic_complete, shapes.strict.pydantic_complete)
shapes.Point(x=1)
print(shapes.Point.__pydantic_complete__)
"""
    )
    assert told.splitlines() == ["False False True", "False False", "True True True", "True"]


@pytest.mark.parametrize(
    "change",
    ["pydantic.BaseModel.model_rebuild = classmethod(lambda cls, **given: None)", INIT],
    ids=["rebuild", "init"],
)
def test_with_another_pydantic_models_are_built_as_ever(shapes: Path, run: Run, change: str) -> None:
    program = f"import pydantic\n{change}\n{LATE}\nimport shapes\nprint(shapes.Point.__pydantic_complete__)\n"
    assert run(program + "print(shapes.Point(x='1'))") == "True\nx=1"


def test_a_shared_model_that_cannot_be_built_says_so_where_it_is_used(tmp_path: Path, run: Run) -> None:
    (tmp_path / "shapes.py").write_text(
        """
from pydantic import BaseModel
class Odd: pass
class Broken(BaseModel, defer_build=True):
    odd: Odd
class Whole(BaseModel, defer_build=True):
    x: int
"""
    )
    told = run(
        """
from lambda_src.cold_start.models import build_shared
build_shared(["shapes"])
import shapes
print(shapes.Whole.__pydantic_complete__, shapes.Broken.__pydantic_complete__)
"""
    )
    assert told == "True False"


def test_a_module_that_fails_leaves_everything_as_it_was(tmp_path: Path, run: Run) -> None:
    (tmp_path / "shapes.py").write_text("raise RuntimeError('no')\n")
    told = run(
        f"""{LATE}
from pydantic import BaseModel
try:
    import shapes
except RuntimeError as error:
    print(error)
class After(BaseModel):
    x: int
print(After.__pydantic_complete__)
"""
    )
    assert told.splitlines() == ["no", "True"]


def test_threads_that_import_at_once_leave_everything_as_it_was(run: Run) -> None:
    told = run(
        """
        import threading
        from pydantic import BaseModel, TypeAdapter
        from lambda_src.cold_start.late_building import late_building
        usual = BaseModel.model_config, TypeAdapter.__init__, BaseModel.model_rebuild
        inside, outside = threading.Barrier(3), threading.Barrier(3)
        def late(first):
            with late_building(f"module{first}"):
                inside.wait()
                if not first:
                    outside.wait()
            if first:
                outside.wait()
        threads = [threading.Thread(target=late, args=(first,)) for first in (True, False)]
        [one.start() for one in threads]
        inside.wait()
        print(BaseModel.model_config)
        outside.wait()
        [one.join() for one in threads]
        print(usual == (BaseModel.model_config, TypeAdapter.__init__, BaseModel.model_rebuild))
        """
    )
    assert told.splitlines() == ["{'defer_build': True}", "True"]


def test_the_sdks_build_what_they_use(run: Run) -> None:
    """If this fails, an SDK or pydantic has changed: the lever `models` no longer pays, or no longer fits."""
    told = run(
        """
        import lambda_src
        import agents, agents.run_state, fastapi, mcp_types
        from pydantic import TypeAdapter
        from fastapi.openapi.models import Operation, PathItem, Schema
        from openai.types.responses import ParsedResponse, Response, ResponseOutputMessage
        from openai.types.responses.tool import FunctionTool
        adapters = [value for value in vars(agents.run_state).values() if isinstance(value, TypeAdapter)]
        print(mcp_types.Tool.__pydantic_complete__, PathItem.__pydantic_complete__, Response.__pydantic_complete__)
        print(any(not one.pydantic_complete for one in adapters))
        import openai.resources.responses
        print(ParsedResponse.__pydantic_complete__)
        class Mine(mcp_types.CallToolRequestParams):
            more: int
        class Own(Operation):
            more: int
        print(Mine(name="a", more="1").more, Own(more="2").more)
        lambda_src.cold_start.load_models()
        print(ResponseOutputMessage.__pydantic_complete__, FunctionTool.__pydantic_complete__)
        print(mcp_types.Tool(name="look", inputSchema={}).name, Schema(type="string").type)
        """
    )
    assert told.splitlines() == [
        "False False False",
        "True",
        "False",
        "1 2",
        "True True",
        "look string",
    ]
