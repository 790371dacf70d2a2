"""Trims botocore's data to the AWS services and operations that the zip's code names. Knows no wheel and no zip.

botocore describes every AWS service, which is half of the zip. We keep the services that code in the zip names in a
call such as `client("sqs")` or `resource("sqs")`, without their documentation: to use a service, name it in a call.

Of a service that is kept, we keep the operations whose names occur anywhere in the zip's code, as `send_message` or
`SendMessage`. A process that creates a client parses the whole description of the service and keeps it: 8 ms and 3 MB
for all 150 operations of SSM, of which a chat calls one.
"""

import gzip
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import botocore
from botocore import xform_name

_CLIENT_CALL = re.compile(r"(?:client|resource)\(\s*(?:service_name\s*=\s*)?[\"']([a-z0-9-]+)[\"']")
_WORD = re.compile(r"[A-Za-z]\w+")
_AWS_SDK = {"boto3", "botocore", "s3transfer"}  # they name services in examples, not to call them

Json = dict[str, Any]


def services_named(sources: Iterable[Path]) -> set[str]:
    """The AWS services for which these Python files create a client or resource by a literal name."""
    return {name for path in sources for name in _CLIENT_CALL.findall(_text(path))}


def operations_named(sources: Iterable[Path], *, services: Iterable[str]) -> set[str]:
    """The names of operations, waiters and errors of these services that occur in these Python files.

    The names are those of the botocore that is installed here, which the lock file shares with the zip.
    """
    return _words(sources, among=_all_names(Path(botocore.__file__).parent / "data", services))


def trim_services(folder: Path, *, keep: AbstractSet[str], operations: AbstractSet[str]) -> list[str]:
    """Remove every service from botocore in `folder` that neither `keep` nor a library names; return the others.

    They lose the operations that neither `operations` nor a library names.
    """
    data = folder / "botocore" / "data"
    if not data.is_dir():
        return []
    sources = sorted(folder.rglob("*.py"))
    libraries = (path for path in sources if path.relative_to(folder).parts[0] not in _AWS_SDK)
    wanted = keep | services_named(libraries)
    services = sorted(path.name for path in data.iterdir() if path.is_dir())
    for service in services:
        if service not in wanted:
            shutil.rmtree(data / service)
    kept = [service for service in services if service in wanted]
    named = operations | _words(sources, among=_all_names(data, kept))
    prefixes = set(kept)
    for service in kept:
        used_by_resources = set(_operations_in(folder / "boto3" / "data" / service, "resources-1.json*"))
        prefixes |= _trim_service(data / service, named | used_by_resources)
    _trim_endpoints(data, prefixes)
    return kept


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _words(sources: Iterable[Path], *, among: set[str]) -> set[str]:
    return {word for path in sources for word in among.intersection(_WORD.findall(_text(path)))} if among else set()


def _all_names(data: Path, services: Iterable[str]) -> set[str]:
    """Every name by which code can refer to a part of these services."""
    names: set[str] = set()
    for service in services:
        for _, description in _files(data / service, "service-2.json*"):
            errors = (name for name, shape in description.get("shapes", {}).items() if shape.get("exception"))
            names.update(errors, *map(_spellings, description.get("operations", {})))
        for _, waiters in _files(data / service, "waiters-2.json*"):
            names.update(*map(_spellings, waiters["waiters"]))
    return names


def _spellings(name: str) -> tuple[str, str]:
    return name, xform_name(name)


def _files(service: Path, pattern: str) -> Iterator[tuple[Path, Json]]:
    """The JSON files of all versions of a service, gzipped or not."""
    for path in sorted(service.glob(f"*/{pattern}")):
        content = path.read_bytes()
        yield path, json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def _operations_in(service: Path, pattern: str) -> Iterator[str]:
    """The operations that these files of a service refer to."""
    for _, content in _files(service, pattern):
        yield from _values(content, "operation")


def _values(part: object, key: str) -> Iterator[str]:
    """Every text under this key, at any depth."""
    if isinstance(part, dict):
        for name, inner in part.items():
            if name == key and isinstance(inner, str):
                yield inner
            else:
                yield from _values(inner, key)
    elif isinstance(part, list):
        for inner in part:
            yield from _values(inner, key)


def _trim_service(service: Path, named: AbstractSet[str]) -> set[str]:
    """Trim a service's descriptions; return the names it may have in endpoints.json."""
    waited_for = {
        waiter["operation"]
        for _, waiters in _files(service, "waiters-2.json*")
        for name, waiter in waiters["waiters"].items()
        if not named.isdisjoint(_spellings(name))
    }
    prefixes = set()
    for path, description in _files(service, "service-2.json.gz"):
        _without_prose(description)
        _trim_operations(description, named | waited_for)
        prefixes.add(description["metadata"]["endpointPrefix"])
        path.with_suffix("").write_text(json.dumps(description, separators=(",", ":")), "utf-8")
        path.unlink()
    return prefixes


def _without_prose(part: Any) -> None:  # noqa: ANN401 - JSON
    """Empty each `documentation`. botocore needs the key; a value that is no text is a member."""
    if isinstance(part, dict):
        for name, inner in part.items():
            if name == "documentation" and isinstance(inner, str):
                part[name] = ""
            else:
                _without_prose(inner)
    elif isinstance(part, list):
        for inner in part:
            _without_prose(inner)


def _trim_operations(description: Json, named: AbstractSet[str]) -> None:
    """Remove the operations that are not named, and the shapes that no other operation needs.

    The operation that finds a service's endpoints stays: botocore calls it by itself.
    """
    operations: Mapping[str, Json] = description.get("operations", {})
    shapes: Mapping[str, Json] = description.get("shapes", {})
    kept = {
        name: operation
        for name, operation in operations.items()
        if operation.get("endpointoperation") or not named.isdisjoint(_spellings(name))
    }
    needed: set[str] = set()
    added = {*_values(list(kept.values()), "shape"), *(name for name in shapes if name in named)}
    while added:
        needed |= added
        added = {name for shape in added for name in _values(shapes[shape], "shape")} - needed
    description["operations"] = kept
    description["shapes"] = {name: shape for name, shape in shapes.items() if name in needed}


def _trim_endpoints(data: Path, prefixes: set[str]) -> None:
    """Keep only these services in endpoints.json: a process's first client parses all of it, 20 ms and 6 MB."""
    file = data / "endpoints.json"
    if not file.is_file():
        return
    endpoints = json.loads(file.read_text("utf-8"))
    for partition in endpoints["partitions"]:
        partition["services"] = {name: entry for name, entry in partition["services"].items() if name in prefixes}
    file.write_text(json.dumps(endpoints, separators=(",", ":")), "utf-8")
