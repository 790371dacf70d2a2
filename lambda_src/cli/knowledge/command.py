"""`chat knowledge`: uploads the documents of a folder to a stage's vector store. Prints names, never what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lambda_src.cli.console import one_sentence, progress, report, run_it
from lambda_src.cli.knowledge.documents import read_folder
from lambda_src.cli.secrets import command as secret
from lambda_src.cli.stage import Stage, read_stage
from lambda_src.cli.stage_file import set_variable
from lambda_src.errors import RequestError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from lambda_src.cli.knowledge.vector_store import Plan, VectorStore

VARIABLE = "KNOWLEDGE_STORE"  # in the stage's `environment`: the id of its vector store


def knowledge(
    folder: Annotated[Path, typer.Argument(help="The folder with the documents.")],
    stage: secret.StageName = None,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    link: Annotated[
        str | None,
        typer.Option(help="Where readers open a document, for instance https://docs.example.com/{path} or .../{page}."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would change, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before most documents are removed.")] = False,
) -> None:
    """Upload a folder's documents to a stage's OpenAI vector store (OPENAI_API_KEY), for FileSearchTool to search.

    Changed documents are replaced and missing ones removed. If it is interrupted, run it again. Exits with 1 if OpenAI
    did not take a document.
    """
    with one_sentence():
        settings = read_stage(cdk_json, stage)
        store_id = settings.environment.get(VARIABLE)
        documents, left_out = read_folder(folder, link=link)
        if not documents and store_id is None:
            raise RequestError(f"{folder} has no documents.")
    for reason in left_out:
        report(reason)

    async def run() -> bool:
        """Whether OpenAI took every document."""
        from openai import AsyncOpenAI  # noqa: PLC0415 - a second that no other command needs

        from lambda_src.cli.knowledge import vector_store as stores  # noqa: PLC0415 - as above

        if dry_run and store_id is None:
            return _listed(stores.plan_of(documents, ()))
        async with AsyncOpenAI(max_retries=stores.RETRIES) as client:
            if store_id is None:
                store = await _new_store(client, settings, cdk_json)
            else:
                store = stores.VectorStore(client, store_id)
            contents = await store.contents()
            plan = stores.plan_of(documents, contents.kept)
            if dry_run:
                return _listed(plan)
            if plan.is_drastic and not yes:
                question = f"Remove {len(plan.gone)} of {plan.known} documents? Is {folder} the right folder?"
                typer.confirm(question, abort=True, err=True)
            with progress("documents uploaded") as step:
                refused = await store.apply(plan, contents, step=step)
        for path, reason in refused.items():
            report(f"{path} is not taken: {reason}.")
        report(f"Vector store {store.id}: {plan.summary(refused)}.")
        return not refused

    if not run_it(run()):
        raise typer.Exit(1)


async def _new_store(client: "AsyncOpenAI", stage: Stage, cdk_json: Path) -> "VectorStore":
    """A new vector store, whose id is in cdk.json before anything is uploaded: a run that dies loses nothing."""
    from lambda_src.cli.knowledge.vector_store import VectorStore  # noqa: PLC0415 - as above

    store = await VectorStore.created(client, f"chatkit {stage.name}")
    set_variable(cdk_json, stage.name, VARIABLE, store.id)
    report(
        f"Created vector store {store.id}; it is {VARIABLE} in the `environment` of stage {stage.name} in {cdk_json}. "
        "Deploy the stage for its function to use it."
    )
    return store


def _listed(plan: "Plan") -> bool:
    """Print what would change, one line for each document."""
    for change, path in plan.changes():
        typer.echo(f"{change}\t{path}")
    report(f"Nothing is changed. It would be: {plan.summary({})}.")
    return True
