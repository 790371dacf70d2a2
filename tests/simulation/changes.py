"""Changes of the product: mutants, which are small random changes of one function, and reverts of earlier fixes.

Pure, but for `apply`.
"""

import ast
import gc
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.simulation.reverts import ROOT, Revert

PRODUCT = ROOT / "lambda_src"
LOGGING = ("log", "logger", "log_fault")
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a function. `function` is its name in the file; `tree` is the whole changed file."""

    file: Path
    function: str
    line: int
    change: str
    tree: ast.Module

    def __str__(self) -> str:
        return f"`{self.file.relative_to(PRODUCT)}:{self.line}` {self.function} | `{self.change}`"


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that can replace a node."""
    match node:
        case ast.Compare(left=left, ops=[op, *more], comparators=others) if type(op) in FLIPPED:
            yield ast.Compare(left, [FLIPPED[type(op)](), *more], others)
        case ast.BoolOp(op=ast.And(), values=values):
            yield ast.BoolOp(ast.Or(), values)
        case ast.BoolOp(op=ast.Or(), values=values):
            yield ast.BoolOp(ast.And(), values)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test=test, body=value, orelse=other):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), value, other)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Expr(value=ast.Call() | ast.Await() as value) if not _is_log(value):
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case _:
            return


def _is_log(value: ast.expr) -> bool:
    called = value.func if isinstance(value, ast.Call) else None
    base = called.value if isinstance(called, ast.Attribute) else called
    return isinstance(base, ast.Name) and base.id in LOGGING


def functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions and methods of a file, with their names."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name, node
            case ast.ClassDef(name=name, body=inner):
                yield from functions(inner, f"{prefix}{name}.")
            case _:
                pass


def mutants_of(file: Path) -> Iterator[Callable[[], Mutant]]:
    """Makes each mutant of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for place, (name, function) in enumerate(functions(tree.body)):
        nodes = [node for statement in function.body for node in ast.walk(statement)]
        for number, node in enumerate(nodes):
            for variant in range(len(list(changes(node)))):
                yield partial(_made, file, tree, name, place, number, variant)


def _made(file: Path, tree: ast.Module, name: str, place: int, number: int, variant: int) -> Mutant:
    changed = deepcopy(tree)
    function = list(functions(changed.body))[place][1]
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    old: Any = nodes[number]
    before, line = ast.unparse(old).splitlines()[0], old.lineno
    new = ast.copy_location(list(changes(old))[variant], old)
    after = ast.unparse(new).splitlines()[0]
    _replace(function, old, new)
    ast.fix_missing_locations(changed)
    return Mutant(file, name, line, f"{before} -> {after}".replace("|", "\\|"), changed)


def _replace(root: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(root):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(part is old for part in value):
                setattr(parent, field, [new if part is old else part for part in value])


def tree_without(revert: Revert) -> ast.Module:
    """A file without a fix."""
    return ast.parse(revert.text_without())


def apply(file: Path, tree: ast.Module) -> set[str]:
    """Give the functions of a file the code of its changed `tree` in this process; the names of those that got it.

    What was computed when the file was imported stays as it is.
    """
    import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    changed = dict(_functions_in(compile(tree, str(file), "exec")))
    gc.unfreeze()  # LazyChatServer freezes what exists when it has loaded the server
    done: set[str] = set()
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == str(file):
            name = function.__code__.co_qualname
            code = changed.get(name)
            if code is not None and len(code.co_freevars) == len(function.__code__.co_freevars):
                function.__code__ = code
                done.add(name)
    return done


def _functions_in(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for part in code.co_consts:
        if isinstance(part, CodeType):
            if not part.co_name.startswith("<"):  # a lambda: there may be several of the same name
                yield part.co_qualname, part
            yield from _functions_in(part)
