"""Makes an OpenAI vector store hold the documents of a folder: compares, uploads, removes. Knows no stage, no terminal.

There is no local record of what was uploaded. Each file in the store has its path and hash as attributes, so any run,
on any machine, can finish what another one began. A file that a dead run uploaded and did not add to the store is found
by the store's tag in its name. Files without these attributes belong to someone else and are never touched.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import openai

from lambda_src.cli.knowledge.documents import Document
from lambda_src.errors import RequestError, UnavailableError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.vector_stores.file_batch_create_params import File as NewFile

PAGE = 100  # the API's maximum for a vector store
FILES_PAGE = 1000  # of the project's files, of which the API gives up to 10,000
PARALLEL = 4  # requests at a time
BATCH = 50  # files that are uploaded, then added to the store with one request; a killed run loses at most these
RETRIES = 8  # of a request that was answered 429 or 5xx: over half a minute, or as long as the answer says
PROCESSING_S = 600  # how long one batch may take to be processed
NOT_A_DOCUMENT = frozenset({400, 413, 415, 422})  # statuses that are about the one file

ANOTHER = "Use a key of the right project, or remove the id from `environment` in cdk.json to create a new store."
UNSUPPORTED = "OpenAI does not read this type of file"
REASONS = {
    "unsupported_file": UNSUPPORTED,
    "invalid_file": "OpenAI cannot read it: it may be damaged, protected, or not UTF-8 text",
    "server_error": "OpenAI failed to process it: run the command again",
}

T = TypeVar("T")
R = TypeVar("R")
Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Kept:
    """A document in the store, as the attributes say."""

    id: str
    path: str
    sha256: str
    url: str
    status: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds. `foreign` are the ids of files that this command did not put there."""

    kept: tuple[Kept, ...] = ()
    foreign: frozenset[str] = frozenset()

    @property
    def ids(self) -> frozenset[str]:
        """Every file in the store."""
        return self.foreign | {file.id for file in self.kept}


@dataclass(slots=True)
class Plan:
    """What makes the store equal to the folder. `older` are the versions that a document in the store replaces."""

    added: list[Document] = field(default_factory=list)
    changed: list[Document] = field(default_factory=list)
    relinked: list[tuple[Kept, Document]] = field(default_factory=list)
    removed: list[Kept] = field(default_factory=list)
    unchanged: int = 0
    older: dict[str, list[Kept]] = field(default_factory=dict)
    known: int = 0  # documents that the store had

    @property
    def uploads(self) -> list[Document]:
        """The documents to upload."""
        return [*self.added, *self.changed]

    @property
    def gone(self) -> list[str]:
        """The paths that the folder no longer has."""
        return sorted({file.path for file in self.removed})

    @property
    def is_drastic(self) -> bool:
        """Whether more than half of what the store had would go: perhaps it is the wrong folder."""
        return 2 * len(self.gone) > self.known

    def changes(self) -> Iterator[tuple[str, str]]:
        """What happens to which path."""
        yield from (("add", document.path) for document in self.added)
        yield from (("update", document.path) for document in self.changed)
        yield from (("link", document.path) for _, document in self.relinked)
        yield from (("remove", path) for path in self.gone)

    def summary(self, refused: Collection[str]) -> str:
        """How many documents were what; `refused` were not taken."""
        added = sum(document.path not in refused for document in self.added)
        changed = sum(document.path not in refused for document in self.changed)
        counts = f"{added} added, {changed} updated, {len(self.gone)} removed, {self.unchanged} unchanged"
        counts += f", {len(self.relinked)} with another link" if self.relinked else ""
        return counts + (f", {len(refused)} not taken" if refused else "")


def plan_of(documents: Mapping[str, Document], kept: Sequence[Kept]) -> Plan:
    """Compare a folder with what the store holds."""
    plan, by_path = Plan(), dict[str, list[Kept]]()
    for file in kept:
        by_path.setdefault(file.path, []).append(file)
    plan.known = len(by_path)
    for path, versions in by_path.items():
        if path not in documents:
            plan.removed += versions
    for path, document in documents.items():
        versions = by_path.get(path, [])
        current = next((v for v in versions if v.status == "completed" and v.sha256 == document.sha256), None)
        plan.older[path] = [version for version in versions if version is not current]
        if current is None:
            (plan.changed if versions else plan.added).append(document)
        elif current.url != document.url:
            plan.relinked.append((current, document))
        else:
            plan.unchanged += 1
    return plan


class VectorStore:
    """One vector store."""

    def __init__(self, client: "AsyncOpenAI", store_id: str) -> None:
        self._client, self.id = client, store_id
        self._tag = hashlib.sha256(store_id.encode()).hexdigest()[:10]

    @classmethod
    async def created(cls, client: "AsyncOpenAI", name: str) -> "VectorStore":
        """A new, empty store."""
        return cls(client, (await client.vector_stores.create(name=name)).id)

    async def contents(self) -> Contents:
        """What it holds, once OpenAI has processed it. RequestError: there is no such store."""
        try:
            store = await self._client.vector_stores.retrieve(self.id)
            if store.status == "expired":
                raise RequestError(f"Vector store {self.id} has expired. {ANOTHER}")
            files = await self._listed()
        except openai.NotFoundError:
            raise RequestError(f"The project of this key has no vector store {self.id}. {ANOTHER}") from None
        return replace(files, kept=tuple(await _each(self._processed, files.kept)))

    async def apply(self, plan: Plan, contents: Contents, *, step: Step) -> dict[str, str]:
        """Carry it out; returns why which documents were not taken. The old version of such a document stays."""
        refused: dict[str, str] = {}
        file_ids = set(contents.ids)
        for batch in _batches(plan.uploads):
            uploaded = {
                document.path: (document, file_id)
                for document, file_id in zip(batch, await _each(self._uploaded, batch), strict=True)
                if file_id is not None
            }
            failed = {document.path: UNSUPPORTED for document in batch if document.path not in uploaded}
            failed |= await self._added(list(uploaded.values()))
            file_ids |= {file_id for path, (_, file_id) in uploaded.items() if path not in failed}
            await _each(self._remove, [file_id for path, (_, file_id) in uploaded.items() if path in failed])
            await self._remove_all(plan.older.pop(document.path) for document in batch if document.path not in failed)
            refused |= failed
            for _ in batch:
                step()
        await _each(self._relink, plan.relinked)
        await self._remove_all(older for path, older in plan.older.items() if path not in refused)
        await self._remove_all([plan.removed])
        await self._sweep(file_ids)
        return refused

    async def _listed(self) -> Contents:
        kept, foreign = [], set()
        async for file in self._client.vector_stores.files.list(self.id, limit=PAGE, order="asc"):
            attributes = file.attributes or {}
            path, sha256, url = (attributes.get(name, "") for name in ("path", "sha256", "url"))
            if isinstance(path, str) and isinstance(sha256, str) and path and sha256:
                kept.append(Kept(file.id, path, sha256, str(url), file.status))
            else:
                foreign.add(file.id)
        return Contents(tuple(kept), frozenset(foreign))

    async def _processed(self, kept: Kept) -> Kept:
        """The same, when OpenAI is done with it: a run that died left it in progress."""
        if kept.status != "in_progress":
            return kept
        async with _patience():
            file = await self._client.vector_stores.files.poll(kept.id, vector_store_id=self.id)
        return replace(kept, status=file.status)

    async def _uploaded(self, document: Document) -> str | None:
        """The id of the uploaded file; None: OpenAI does not take it."""
        path = PurePosixPath(document.path)
        name = f"{path.stem}.{self._tag}{path.suffix}"
        with document.file.open("rb") as opened:
            try:
                return (await self._client.files.create(file=(name, opened), purpose="assistants")).id
            except openai.APIStatusError as error:
                if error.status_code in NOT_A_DOCUMENT:
                    return None
                raise

    async def _added(self, uploaded: Sequence[tuple[Document, str]]) -> dict[str, str]:
        """Add files to the store and wait until they are processed; returns why which were not taken."""
        if not uploaded:
            return {}
        files: list[NewFile] = [
            {"file_id": file_id, "attributes": _attributes(document)} for document, file_id in uploaded
        ]
        batches = self._client.vector_stores.file_batches
        try:
            batch = await batches.create(self.id, files=files)
        except openai.BadRequestError:  # one of them: halve until it is found
            if len(uploaded) == 1:
                return {uploaded[0][0].path: UNSUPPORTED}
            middle = len(uploaded) // 2
            return await self._added(uploaded[:middle]) | await self._added(uploaded[middle:])
        async with _patience():
            batch = await batches.poll(batch.id, vector_store_id=self.id)
        if batch.file_counts.completed == len(uploaded):
            return {}
        listed = batches.list_files(batch.id, vector_store_id=self.id, limit=PAGE)
        ended = {file.id: file async for file in listed}
        failed: dict[str, str] = {}
        for document, file_id in uploaded:
            file = ended.get(file_id)
            if file is None or file.status != "completed":
                code = file.last_error.code if file is not None and file.last_error is not None else "server_error"
                failed[document.path] = REASONS.get(code, REASONS["server_error"])
        return failed

    async def _relink(self, pair: tuple[Kept, Document]) -> None:
        kept, document = pair
        attributes = _attributes(document)
        await self._client.vector_stores.files.update(kept.id, vector_store_id=self.id, attributes=attributes)

    async def _remove_all(self, versions: Iterable[Iterable[Kept]]) -> None:
        for batch in _batches([file.id for some in versions for file in some]):
            await _each(self._remove, batch)

    async def _remove(self, file_id: str) -> None:
        """Take a file out of the store and delete it."""
        with suppress(openai.NotFoundError):  # it is not in the store
            await self._client.vector_stores.files.delete(file_id, vector_store_id=self.id)
        await self._delete(file_id)

    async def _delete(self, file_id: str) -> None:
        with suppress(openai.NotFoundError):  # somebody else has deleted it
            await self._client.files.delete(file_id)

    async def _sweep(self, file_ids: set[str]) -> None:
        """Delete what dead runs uploaded and did not add. `file_ids` are those of the store."""
        listed = self._client.files.list(purpose="assistants", limit=FILES_PAGE, order="asc")
        suspects = [file.id async for file in listed if f".{self._tag}." in file.filename and file.id not in file_ids]
        if suspects:
            in_store = (await self._listed()).ids  # another run may have added them meanwhile
            await _each(self._delete, [file_id for file_id in suspects if file_id not in in_store])


def _attributes(document: Document) -> dict[str, str | float | bool]:
    attributes: dict[str, str | float | bool] = {"path": document.path, "sha256": document.sha256}
    return attributes | {"url": document.url} if document.url else attributes


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), BATCH):
        yield things[start : start + BATCH]


async def _each(work: Callable[[T], Awaitable[R]], things: Iterable[T]) -> list[R]:
    """The results of `work` on each, in order; PARALLEL at a time. Raises the first error."""
    gate = asyncio.Semaphore(PARALLEL)

    async def bounded(thing: T) -> R:
        async with gate:
            return await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(thing)) for thing in things]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """PROCESSING_S of waiting, then UnavailableError."""
    try:
        async with asyncio.timeout(PROCESSING_S):
            yield
    except TimeoutError:
        raise UnavailableError(
            "OpenAI is still processing the documents. Run the command again later to continue."
        ) from None
