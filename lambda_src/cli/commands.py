"""The commands of `chat`. Reports go to standard error, data to standard output.

Exit code 0: done. 1: something is wrong, and the message says what. 2: the command line is invalid.
Each command imports what it needs when it runs, so that `--help` is fast.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lambda_src.cli.cases import cases
from lambda_src.cli.console import one_sentence, progress, report, run_it, writing
from lambda_src.cli.inbox import inbox
from lambda_src.cli.knowledge import command as knowledge
from lambda_src.cli.options import AUTHORIZATION, LOCAL, Place
from lambda_src.cli.places import IsLocal, StageName, placed
from lambda_src.cli.secrets import command as secret
from lambda_src.cli.secrets import keys
from lambda_src.cli.usage import usage
from lambda_src.cli.users import Issuer, Subject, UserId, id_of, mapping, user_of
from lambda_src.errors import RequestError

if TYPE_CHECKING:
    from lambda_src.cli.talk.cors_check import Row
    from lambda_src.store.ports import Erased

MAX_LINK_S = 7 * 86_400  # S3's longest for a presigned URL

app = typer.Typer(name="chat", help="Manage the data, secrets and models of your chat.", no_args_is_help=True)
app.add_typer(keys.app)
app.add_typer(secret.app)
app.command()(knowledge.knowledge)
app.command()(usage)
app.command()(cases)
app.command()(inbox)


class StoreName(StrEnum):
    """The store that contains the threads."""

    dynamodb = "dynamodb"
    postgres = "postgres"


@app.callback()
def place(
    context: typer.Context,
    store: Annotated[
        StoreName, typer.Option(envvar="CHAT_STORE", help="The store that contains the threads.")
    ] = StoreName.dynamodb,
    table: Annotated[str | None, typer.Option(envvar="CHAT_TABLE", help="The DynamoDB table.")] = None,
    bucket: Annotated[str | None, typer.Option(envvar="CHAT_BUCKET", help="The S3 bucket that belongs to it.")] = None,
    database_url: Annotated[
        str | None, typer.Option(envvar="CHAT_DATABASE_URL", help="The PostgreSQL database, as postgresql://...")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="The endpoint of a local AWS.")
    ] = None,
) -> None:
    """Manage the data, secrets and models of your chat."""
    context.obj = Place(store.value, table, bucket, database_url, endpoint_url)


@app.command()
def talk(
    url: Annotated[
        str, typer.Option(envvar="CHATKIT_URL", help="The URL of the chat, as `make deploy` prints it.")
    ] = LOCAL,
    token: Annotated[
        str | None, typer.Option(envvar="CHATKIT_TOKEN", help="Your bearer token; without one you are a guest.")
    ] = None,
    token_header: Annotated[
        str, typer.Option(help="The header for the token, if CHAT_TOKEN_HEADER is set.")
    ] = AUTHORIZATION,
) -> None:
    """Chat in the terminal with `make dev` or a deployed stage. Also reads lines from a pipe."""
    from lambda_src.cli.talk import session as talking

    if not talking.talk(url, token=token, token_header=token_header):
        raise typer.Exit(1)


@app.command(name="alarm-test")
def alarm_test(
    context: typer.Context, stage: secret.StageName = None, cdk_json: secret.CdkJson = secret.CDK_JSON
) -> None:
    """Trigger one alarm of a stage to check that its mail arrives, or report why nobody would get it."""
    from lambda_src.cli import alarms
    from lambda_src.cli.stage import read_stage

    with one_sentence():
        report(alarms.ring(read_stage(cdk_json, stage), context.obj.endpoint_url))


@app.command()
def migrate(context: typer.Context) -> None:
    """Migrate the PostgreSQL database to the schema of this release. DynamoDB tables need no migration."""
    from lambda_src.cli.stores import database

    async def run() -> None:
        if context.obj.store != "postgres":
            report("A DynamoDB table has no schema to migrate.")
            return
        from lambda_src.store.postgres import migrate as schema

        async with database(context.obj) as engine:
            before = await schema.current(engine)
            report(f"Schema {before or 'none'} -> {await schema.migrate(engine)}.")

    run_it(run(), context.obj)


@app.command(name="user-id")
def user_id(
    issuer: Issuer = None,
    subject: Subject = None,
    assistant: Annotated[str, typer.Option(help="The id at this assistant, if there are several.")] = "",
) -> None:
    """Print the opaque id of a user, which identifies them in logs, threads, `export` and `erase`."""
    from lambda_src.context import User

    with one_sentence():
        typer.echo(User(id_of(issuer, subject)).at(assistant).id)


@app.command()
def export(
    context: typer.Context,
    user: UserId = None,
    issuer: Issuer = None,
    subject: Subject = None,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    output: Annotated[Path | None, typer.Option(help="The file to write (default: standard output).")] = None,
    links_for: Annotated[
        int, typer.Option(min=0, max=MAX_LINK_S, help="Add links to the attachments, valid for this many seconds.")
    ] = 0,
    files_to: Annotated[Path | None, typer.Option(help="Download the attachments into this folder.")] = None,
) -> None:
    """Export all data of a user: one JSON line for each thread, item, attachment and feedback."""
    from lambda_src.cli.stores import opened, s3_client
    from lambda_src.cli.transfer import attachment_bytes, export_files

    async def run() -> None:
        count = 0
        bucket = where.bucket or ""
        s3 = s3_client(where) if links_for or files_to else None
        async with opened(where) as store:
            with progress("records exported") as step, writing(output) as file:
                async for record in export_files.export_lines(store, who):
                    line = record
                    if s3 is not None and links_for:
                        line = attachment_bytes.with_links(line, s3, bucket, valid_s=links_for)
                    if s3 is not None and files_to is not None:
                        line = attachment_bytes.with_files(line, s3, bucket, folder=files_to)
                    file.write(export_files.line_of(line))
                    count += 1
                    step()
        if not count:
            report(f"User {who} has nothing in {where}.")

    with one_sentence():
        who = user_of(user, issuer, subject)
    where = _where(context, stage, local, cdk_json)
    with one_sentence():
        if (links_for or files_to) and not where.bucket:
            raise RequestError(f"No bucket of {where} is named: use --bucket (CHAT_BUCKET), --stage or --local.")
    run_it(run(), where)


@app.command()
def erase(
    context: typer.Context,
    user: UserId = None,
    issuer: Issuer = None,
    subject: Subject = None,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all data of a user. If it is interrupted, run it again.

    The ids of the threads remain for 15 minutes. The hourly sweep removes them, together with what a running answer
    may have written in the meantime.
    """
    from lambda_src.cli.stores import as_user, opened
    from lambda_src.store.ports import Erased

    with one_sentence():
        who = user_of(user, issuer, subject)
    where = _where(context, stage, local, cdk_json)
    if not yes:
        typer.confirm(f"Remove everything that user {who} has in {where}?", abort=True, err=True)

    async def run() -> None:
        total = Erased()
        async with opened(where) as store:
            with progress("steps") as step:
                async for erased in store.erase_user(as_user(who)):
                    total += erased
                    step()
        report(_counted("Removed", total))
        if total == Erased():
            report(f"User {who} had nothing in {where}.")

    run_it(run(), where)


@app.command(name="import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check the file, write nothing.")] = False,
    users: Annotated[
        Path | None, typer.Option("--map", help="CSV of: old user,new user (with --issuer: their sub)", exists=True)
    ] = None,
    issuer: Issuer = None,
    subject: Subject = None,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
) -> None:
    """Import an export with the same ids, order and times. If it is interrupted, run it again."""
    from lambda_src.cli.transfer import export_files

    async def run() -> None:
        records = export_files.records_of(export_files.json_lines(file))
        new, there = await _import(where, records, new_user_of, dry_run=dry_run)
        report(f"{new} records {'would be ' if dry_run else ''}imported, {there} were there.")

    with one_sentence():
        new_user_of = mapping(users, issuer, subject)
    where = _where(context, stage, local, cdk_json)
    run_it(run(), where)


@app.command(name="import-hosted")
def import_hosted(
    context: typer.Context,
    raw: Annotated[Path, typer.Argument(help="File for OpenAI's responses; an existing one is imported again.")],
    user: Annotated[str | None, typer.Option(help="Only this user's threads.")] = None,
    users: Annotated[
        Path | None, typer.Option("--map", help="CSV of: old user,new user (with --issuer: their sub)", exists=True)
    ] = None,
    issuer: Issuer = None,
    subject: Subject = None,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fetch and check, write nothing.")] = False,
) -> None:
    """Import threads from OpenAI's hosted ChatKit (OPENAI_API_KEY). Keeps what was imported before.

    If the user ids there are the `sub` of your tokens, --issuer is enough; otherwise add --map.
    """
    from lambda_src.cli.transfer import export_files, hosted_chatkit

    async def run() -> None:
        if not raw.exists():
            await _fetch(raw, user)
        records = hosted_chatkit.to_records(export_files.json_lines(raw))
        new, there = await _import(where, records, new_user_of, dry_run=dry_run, skip_changed=True)
        report(f"{new} records {'would be ' if dry_run else ''}imported, {there} were there.")

    with one_sentence():
        new_user_of = mapping(users, issuer, subject)
    where = _where(context, stage, local, cdk_json)
    run_it(run(), where)


@app.command()
def sweep(
    context: typer.Context,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
) -> None:
    """Finish deletes: remove what remains of deleted threads, and objects without a row."""
    from lambda_src.cli.stores import opened

    async def run() -> None:
        async with opened(where) as store:
            erased = await store.sweep(stop=lambda: False)
            orphans = await store.sweep_orphans(everything=True, stop=lambda: False)
        report(f"{_counted('Removed', erased)} {orphans} objects had no row.")

    where = _where(context, stage, local, cdk_json)
    run_it(run(), where)


@app.command()
def models(
    context: typer.Context,
    stage: secret.StageName = None,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    new: Annotated[bool, typer.Option("--new", help="Exit with 1 if one is shut down within 7 days.")] = False,
) -> None:
    """List the models that a stage uses, and warn about those that their vendor shuts down within 90 days."""
    from lambda_src.cli import retirement
    from lambda_src.cli.stage import read_stage
    from lambda_src.errors import UnavailableError

    with one_sentence():
        settings = read_stage(cdk_json, stage)
        try:
            for model in sorted(retirement.used_by(settings)):
                typer.echo(model)
            soon = retirement.looked_up(settings, today=retirement.today(), endpoint_url=context.obj.endpoint_url)
        except UnavailableError as fault:
            typer.echo(str(fault), err=True)
            return
    for retiring in soon:
        typer.echo(str(retiring), err=True)
    if new and any(retiring.too_late for retiring in soon):
        raise typer.Exit(1)


@app.command()
def doctor(
    context: typer.Context,
    origin: Annotated[
        str | None, typer.Option(help="Check instead whether a page of this origin can use the chat.")
    ] = None,
    url: Annotated[str, typer.Option(envvar="CHATKIT_URL", help="With --origin: the URL of the chat.")] = LOCAL,
    token: Annotated[str | None, typer.Option(envvar="CHATKIT_TOKEN", help="With --origin: a bearer token.")] = None,
    token_header: Annotated[str, typer.Option(help="With --origin: the header for the token.")] = AUTHORIZATION,
    stage: Annotated[
        str | None,
        typer.Option(help="Check the table of this stage of cdk.json, and whether its models are shut down soon."),
    ] = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
) -> None:
    """Check every row and list what is wrong, changing nothing. With --origin: check CORS, token and streaming.

    Exits with 1 if something is wrong. With --origin, it sends one message and deletes the thread afterwards.
    """

    async def look() -> int:
        from lambda_src.cli.talk import cors_check
        from lambda_src.cli.talk.client import connected

        page = cors_check.origin_of(origin or "")
        async with connected(url, token=token, token_header=token_header) as endpoint:
            return sum([_told(row) async for row in cors_check.rows(endpoint, page)])

    async def run() -> int:
        from lambda_src.cli.stores import opened

        faults = rows = 0
        async with opened(where) as store:
            with progress("rows checked") as step:
                async for finding in store.inspect():
                    rows += 1
                    step()
                    if finding is not None:
                        faults += 1
                        typer.echo(f"{finding.what}\t{finding.user_id}\t{finding.thread_id}\t{finding.row_id}")
        report(f"{rows} rows checked, {faults} of them damaged.")
        return faults

    where = context.obj
    if origin is None:  # with --table, --stage names the models alone
        where = _where(context, stage if where.table is None else None, local, cdk_json)
    retired = _retired(context.obj.endpoint_url, stage, cdk_json) if stage is not None else False
    if run_it(run() if origin is None else look(), where) or retired:
        raise typer.Exit(1)


def _where(context: typer.Context, stage: str | None, local: bool, cdk_json: Path) -> Place:
    """The data selected by the options."""
    where: Place = context.obj
    with one_sentence(where):
        return placed(where, stage=stage, local=local, cdk_json=cdk_json)


def _retired(endpoint_url: str | None, stage: str, cdk_json: Path) -> bool:
    """Warn about models of the stage that are shut down soon; return whether one already is."""
    from lambda_src.cli import retirement
    from lambda_src.cli.stage import read_stage
    from lambda_src.errors import ChatError

    try:
        soon = retirement.looked_up(read_stage(cdk_json, stage), today=retirement.today(), endpoint_url=endpoint_url)
    except ChatError as fault:
        report(str(fault))
        return False
    for retiring in soon:
        typer.echo(str(retiring))
    return any(retiring.days_left < 0 for retiring in soon)


def _told(row: "Row") -> bool:
    """Print the row; return whether it is wrong."""
    typer.echo(str(row))
    return row.state == "wrong"


async def _import(
    where: Place,
    records: Iterator[Any],
    new_user_of: Callable[[str], str],
    *,
    dry_run: bool,
    skip_changed: bool = False,
) -> tuple[int, int]:
    from lambda_src.cli.stores import opened
    from lambda_src.cli.transfer import export_files

    new = there = 0
    async with opened(where) as store:
        with progress("records read") as step:
            imported = export_files.import_records(
                store, records, user_of=new_user_of, dry_run=dry_run, skip_changed=skip_changed
            )
            async for was_new in imported:
                new, there = (new + 1, there) if was_new else (new, there + 1)
                step()
    return new, there


async def _fetch(raw: Path, user: str | None) -> None:
    """Write OpenAI's responses to a file beside `raw`, and rename it when it is complete."""
    from openai import AsyncOpenAI

    from lambda_src.cli.transfer import export_files, hosted_chatkit

    part = raw.with_name(raw.name + ".part")
    async with AsyncOpenAI() as client:
        with progress("threads and items fetched") as step, part.open("w", encoding="utf-8") as file:
            async for value in hosted_chatkit.fetch(client, user=user):
                file.write(export_files.line_of(value))
                step()
    part.replace(raw)


def _counted(verb: str, erased: "Erased") -> str:
    return (
        f"{verb} {erased.threads} threads, {erased.items} items, {erased.attachments} attachments, "
        f"{erased.objects} objects."
    )
