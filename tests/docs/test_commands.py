"""docs/reference/commands.md lists every command of `chat` with every option."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from lambda_src.cli.commands import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"


def commands(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the command lines below `command` with their options: ("secret set", {"--stage", ...})."""
    if not hasattr(command, "commands"):
        yield name, options(command)
        return
    for part, child in command.commands.items():
        yield from commands(child, f"{name} {part}".strip())


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def rows(title: str) -> list[str]:
    """Return the rows of the table with this heading."""
    return PAGE.read_text("utf-8").partition(f"{title}\n")[2].partition("\n\n")[0].splitlines()[1:]


def test_every_command_is_listed_with_its_options() -> None:
    documented = {}
    for row in rows("| command | what it does | options |"):
        command, *_, listed = row.strip("|").split("|")
        [name] = re.findall(r"`([a-z -]+?)(?: [A-Z]+)?`", command)
        documented[name] = set(re.findall(r"--[a-z-]+", listed))
    assert documented == dict(commands(typer.main.get_command(app)))


def test_every_option_before_the_command_is_listed_with_its_variable() -> None:
    documented = {row.split("`")[1]: row.split("`")[3] for row in rows("| option | variable | what |")}
    group = typer.main.get_command(app)
    assert documented == {
        parameter.opts[0]: parameter.envvar for parameter in group.params if parameter.envvar is not None
    }
