"""The documents in a folder: which of its files a vector store can take, and their hashes. Knows no network."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lambda_src.errors import RequestError

# The types that OpenAI lists for file search: https://developers.openai.com/api/docs/guides/tools-file-search
TYPES = frozenset(
    {
        ".c", ".cpp", ".cs", ".css", ".doc", ".docx", ".go", ".html", ".java", ".js", ".json", ".md", ".pdf", ".php",
        ".pptx", ".py", ".rb", ".sh", ".tex", ".ts", ".txt",
    }
)  # fmt: skip
MAX_BYTES = 512 * 1024 * 1024  # of a file, by OpenAI's documentation
MAX_CHARS = 512  # of an attribute's value, by OpenAI's documentation


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the folder. `path` is relative to it, with slashes; `url` is where readers can open it, or ""."""

    path: str
    sha256: str
    url: str
    file: Path


def read_folder(root: Path, *, link: str | None = None) -> tuple[dict[str, Document], list[str]]:
    """Every document under `root` by path, and a sentence for each reason why files are left out.

    Hidden files and folders are ignored; symbolic links are not followed.

    `link` is the URL of a document, in which {path} and {page} are replaced: its path, with and without its ending.
    RequestError: there is no such folder, or the link is unusable.
    """
    if not root.is_dir():
        raise RequestError(f"{root} is not a folder.")
    if link is not None:
        check_link(link)
    documents: dict[str, Document] = {}
    left_out: list[str] = []
    types: Counter[str] = Counter()
    for file in _files(root):
        path = file.relative_to(root).as_posix()
        if file.suffix.lower() not in TYPES:
            types[file.suffix.lower() or "no ending"] += 1
        elif (fault := _fault(file, path)) is not None:
            left_out.append(fault)
        else:
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            documents[path] = Document(path, sha256, "" if link is None else _url(link, path), file)
    if types:
        counted = ", ".join(f"{ending} ({count})" for ending, count in sorted(types.items()))
        left_out.append(f"File search does not read these types: {counted}.")
    return documents, left_out


def check_link(link: str) -> None:
    """RequestError: `link` is no URL with a place for the document."""
    if not link.startswith(("https://", "http://")) or not ("{path}" in link or "{page}" in link):
        raise RequestError(f"{link!r} is not a link to a document: it is like https://docs.example.com/{{path}}")


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder) / name


def _fault(file: Path, path: str) -> str | None:
    """Why this file of a supported type is left out; None: it is a document."""
    if not path.isprintable():
        return f"{path!r} is left out: its name has invisible or damaged characters."
    if file.is_symlink():
        return f"{path} is left out: it is a symbolic link."
    if not file.is_file():
        return f"{path} is left out: it is not a regular file."
    if len(path) > MAX_CHARS:
        return f"{path[:60]}... is left out: its path is longer than {MAX_CHARS} characters."
    size = file.stat().st_size
    if size == 0:
        return f"{path} is left out: it is empty."
    if size > MAX_BYTES:
        return f"{path} is left out: it is larger than 512 MB."
    return None


def _url(link: str, path: str) -> str:
    """The link of a document; "" if it is too long to be kept with it."""
    page = path.removesuffix(Path(path).suffix)
    url = link.replace("{path}", quote(path)).replace("{page}", quote(page))
    return url if len(url) <= MAX_CHARS else ""
