"""Every name that the runtime sends or reads is spelled as AWS documents it; misspelling any of them fails a test."""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

import lambda_src.runtime
from tests.runtime.wire import transcript

FOLDER = Path(lambda_src.runtime.__file__).parent
MUTANT = "misspelled_runtime"  # package name of the copy
WIRE_MODULES = (
    "__main__",
    "client",
    "environment",
    "errors",
    "http1",
    "loading",
    "protocol",
    "reply",
)  # modules with names of the protocol
# Constants that are names of the protocol: headers, paths, types, JSON keys, variables. Others are prose.
NAMES = re.compile(
    r"Lambda-|/20|/response|/error|application/|AWS_|_LAMBDA|LAMBDA_|_HANDLER|_X_AMZN|Runtime\.\w|Function\.|HTTP/1|"
    r"(?:snap-start|streaming|Host|chunked|Content-\w+|Transfer-Encoding|transfer-encoding|content-length|Trailer|GET|"
    r"POST ?|TruncatedHTTPRequest|error(?:Type|Message)|requestId|stackTrace|statusCode|headers|cookies|set-cookie|"
    r"working_directory|exceptions|paths?|label|type|message|stack|line|\0)$"
)
PREFIX = "/2018-06-01/runtime"
CONTEXT = {
    "aws_request_id": "r-1",
    "deadline_ms": 60_000,
    "invoked_function_arn": "arn",
    "function_name": "chat",
    "function_version": "",
    "memory_limit_in_mb": 512,
    "log_group_name": "",
    "log_stream_name": "",
    "trace_id": "Root=1",
}
ENVIRONMENT = {
    "api": "set by the test",
    "handler": "app.handler",
    "task_root": "/var/task",
    "runtime_dir": "/var/runtime",
    "concurrency": 3,
    "snapstart": True,
    "log_format": "JSON",
    "log_level": "DEBUG",
    "telemetry_fd": 7,
    "function_name": "chat",
    "function_version": "4",
    "memory_mb": 512,
    "log_group": "group",
    "log_stream": "stream",
    "show_errors": False,
}
NEXT = ["GET", f"{PREFIX}/invocation/next", {}, b"", {}]
RESTORE_NEXT = ["GET", f"{PREFIX}/restore/next", {}, b"", {}]


def error(path: str, kind: str, name: str, *, of: str = "", ours: bool = False) -> list[Any]:
    """A POST to an error path. `ours`: the message is the runtime's own, so X-Ray may get it too."""
    exception = {"type": name, "message": ours, "stack": [{"path": "", "line": "", "label": ""}]}
    headers: dict[str, Any] = {
        "lambda-runtime-function-error-type": kind,
        "lambda-runtime-function-xray-error-cause": {
            "working_directory": True,
            "exceptions": [exception],
            "paths": True,
        },
        "content-type": "application/vnd.aws.lambda.error+json",
    }
    if of:
        headers["lambda-runtime-invocation-id"] = "i-1"
    return ["POST", f"{PREFIX}{path}", headers, error_json(name, of), {}]


def error_json(name: str, request_id: str) -> dict[str, Any]:
    return {"errorMessage": True, "stackTrace": [], "errorType": name, "requestId": request_id}


def streamed(body: bytes, trailers: dict[str, Any] | None = None) -> list[Any]:
    headers = {
        "lambda-runtime-function-response-mode": "streaming",
        "content-type": "application/vnd.awslambda.http-integration-response",
        "transfer-encoding": "chunked",
        "trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        "lambda-runtime-invocation-id": "i-1",
    }
    prelude = b'{"statusCode":201,"headers":{"content-type":"text/plain"},"cookies":["a=1"]}'
    return ["POST", f"{PREFIX}/invocation/r-1/response", headers, prelude + b"\0" * 8 + body, trailers or {}]


DOCUMENTED = [
    ENVIRONMENT,
    *(0, 65, 64),  # exit codes: snapshot succeeded, hook failed after the restore, hook failed before the snapshot
    [CONTEXT, {"_X_AMZN_TRACE_ID": "Root=1"}],
    error("/init/error", "Runtime.InvalidEnvironment", "HandlerError", ours=True),
    error("/init/error", "Runtime.InvalidEnvironment", "HandlerError", ours=True),
    error("/init/error", "Runtime.MalformedHandlerName", "HandlerError", ours=True),
    error("/init/error", "Runtime.ImportModuleError", "ModuleNotFoundError"),
    error("/init/error", "Runtime.HandlerNotFound", "HandlerError", ours=True),
    error("/init/error", "Runtime.HandlerNotFound", "HandlerError", ours=True),
    error("/init/error", "Runtime.UserCodeSyntaxError", "SyntaxError"),
    *(RESTORE_NEXT, RESTORE_NEXT),
    error("/restore/error", "Runtime.AfterRestoreError", "OSError"),
    error("/init/error", "Runtime.BeforeSnapshotError", "OSError"),
    *(NEXT, streamed(b"streamedend")),
    *(NEXT, error("/invocation/r-1/error", "Function.KeyError", "KeyError", of="r-1")),
    NEXT,
    streamed(
        b"raises midstream",
        {
            "lambda-runtime-function-error-type": "Function.KeyError",
            "lambda-runtime-function-error-body": error_json("KeyError", "r-1"),
        },
    ),
    NEXT,
    [
        *("POST", f"{PREFIX}/invocation/r-1/response"),
        {"content-type": "application/json", "lambda-runtime-invocation-id": "i-1"},
        *(b'"buffered"', {}),
    ],
    *(NEXT, NEXT),  # the streamed response between them was refused
    [*[("runtime.cannot_start", True)] * 9, *[("runtime.invocation_failed", True)] * 2, ("runtime.caller_left", False)],
]


async def test_every_name_is_spelled_as_aws_documents_it() -> None:
    actual = await transcript(lambda name: importlib.import_module(f"lambda_src.runtime.{name}"))
    assert actual == DOCUMENTED


# Misspellings


def names_of(module: str) -> list[ast.Constant]:
    """The constants of a module that are names of the protocol, in order, without docstrings."""
    return [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and NAMES.match(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    ]


def tree_of(module: str) -> ast.Module:
    source = (FOLDER / f"{module}.py").read_text(encoding="utf-8").replace("lambda_src.runtime", MUTANT)
    return ast.parse(source, str(FOLDER / f"{module}.py"))


@cache
def code_of(module: str) -> CodeType:
    return compile(tree_of(module), module, "exec")


def misspelled(module: str, number: int) -> CodeType:
    """The module with its nth name misspelled."""
    tree = tree_of(module)
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = names_of(module)
    target = next(
        node
        for node in constants
        if (node.lineno, node.col_offset, node.value)
        == (names[number].lineno, names[number].col_offset, names[number].value)
    )
    value = target.value
    target.value = value + b"z" if isinstance(value, bytes) else f"{str(value)[:-1]}~"
    return compile(tree, module, "exec")


class MutantImporter(MetaPathFinder, Loader):
    """Imports MUTANT, a copy of the runtime with one module replaced."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module, self._code = module, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != MUTANT:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=fullname == MUTANT)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2] or "__init__"
        exec(self._code if name == self._module else code_of(name), module.__dict__)


@pytest.fixture
def unload_mutant() -> Iterator[None]:
    """Remove every module of MUTANT from sys.modules afterwards."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == MUTANT]:
        del sys.modules[name]


async def transcript_of(importer: MutantImporter) -> Any:
    """The transcript of a copy, or the error that it ends with."""
    sys.meta_path.insert(0, importer)
    try:
        return await transcript(lambda name: importlib.import_module(f"{MUTANT}.{name}"))
    except Exception as fault:  # noqa: BLE001 - any failure shows the misspelling
        return fault
    finally:
        sys.meta_path.remove(importer)


@pytest.mark.usefixtures("unload_mutant")
async def test_an_unchanged_copy_has_the_same_transcript() -> None:
    assert await transcript_of(MutantImporter("protocol", code_of("protocol"))) == DOCUMENTED


@pytest.mark.usefixtures("unload_mutant")
@pytest.mark.parametrize(
    ("module", "number"),
    [
        pytest.param(module, number, id=f"{module}-{number}-{name.value!r}")
        for module in WIRE_MODULES
        for number, name in enumerate(names_of(module))
    ],
)
async def test_a_misspelled_name_is_detected(module: str, number: int) -> None:
    assert await transcript_of(MutantImporter(module, misspelled(module, number))) != DOCUMENTED


def test_more_than_60_names_are_tested() -> None:
    assert sum(len(names_of(module)) for module in WIRE_MODULES) > 60
