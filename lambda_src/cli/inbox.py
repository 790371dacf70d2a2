"""`chat inbox`: what waits for an operator, as a table, CSV or JSON. Prints ids and times."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lambda_src.cli.console import one_sentence, progress, report, run_it, writing
from lambda_src.cli.places import IsLocal, StageName, placed
from lambda_src.cli.secrets import command as secret
from lambda_src.cli.tables import Format, print_rows
from lambda_src.errors import RequestError

if TYPE_CHECKING:
    from lambda_src.cli.options import Place
    from lambda_src.store.inbox import Kind, Matter, State


class KindName(StrEnum):
    """The kinds of matters."""

    handoff = "handoff"
    thumbs_down = "thumbs-down"
    failed_turn = "failed-turn"


class StateName(StrEnum):
    """The states of matters."""

    open = "open"
    taken = "taken"
    closed = "closed"
    any = "any"


def inbox(
    context: typer.Context,
    assistant: Annotated[str, typer.Option(help="The assistant; by default the one without a name.")] = "",
    kind: Annotated[KindName | None, typer.Option(help="Only this kind.")] = None,
    state: Annotated[StateName, typer.Option(help="Only this state.")] = StateName.open,
    output_format: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.table,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    output: Annotated[Path | None, typer.Option(help="The file to write (default: standard output).")] = None,
) -> None:
    """List what waits for an operator: requests for a person, thumbs down and failed turns, the oldest first."""
    where: Place = context.obj
    with one_sentence(where):
        where = placed(where, stage=stage, local=local, cdk_json=cdk_json)
    wanted = None if state is StateName.any else cast("State", state.value)
    matters = run_it(_read(where, assistant, kind.value if kind else None, wanted), where)
    with one_sentence(where), writing(output) as file:
        print_rows([_row(matter) for matter in matters], output_format, file)
    if not matters:
        report(f"Nothing in the inbox of {assistant or 'the assistant without a name'} matches.")


async def _read(where: "Place", assistant: str, kind: "Kind | None", state: "State | None") -> "list[Matter]":
    from lambda_src.cli.stores import table_store

    if where.store != "dynamodb" and where.table is None:
        raise RequestError("The inbox is on the DynamoDB table: name it with --table (CHAT_TABLE).")
    inbox = table_store(where).ledger.inbox()
    matters: list[Matter] = []
    after: str | None = None
    with progress("pages read") as step:
        while True:
            page = await inbox.page(assistant, kind=kind, state=state, after=after)
            matters += page.matters
            step()
            if (after := page.after) is None:
                return matters


def _row(matter: "Matter") -> dict[str, Any]:
    return {
        "kind": matter.kind,
        "state": matter.state,
        "opened": _time(matter.opened_ns / 10**9),
        "changed": _time(matter.changed_ms / 1000),
        "user": matter.user_id,
        "thread": matter.thread_id,
        "cause": matter.cause,
        "operator": matter.operator,
    }


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
