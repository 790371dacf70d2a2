"""The runtime's settings from Lambda's environment variables, read once from a mapping. Knows no IO.

Names: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
Our own begin with CHAT_RUNTIME_. They change how the function runs, never its answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from lambda_src.runtime.errors import HandlerError

ON, OFF = ("1", "true", "on"), ("0", "false", "off")
PREFIX = "CHAT_RUNTIME_"
SHOW_ERRORS = "CHAT_RUNTIME_SHOW_ERRORS"
TRACE_ID = "_X_AMZN_TRACE_ID"  # where AWS's SDKs look for the trace of the running invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The settings of the runtime. Only `api` and `handler` are required."""

    api: str  # host:port of the Runtime API
    handler: str  # package.module.name, or module:app
    task_root: str = ""  # where the zip lies
    runtime_dir: str = ""  # /var/runtime: boto3 and snapshot_restore_py, as AWS ships them
    concurrency: int = 1  # invocations at a time; more than one only on Managed Instances
    snapstart: bool = False
    log_format: str = "Text"  # or JSON
    log_level: str = ""
    telemetry_fd: int | None = None  # framed log lines go there
    function_name: str = ""
    function_version: str = ""
    memory_mb: int = 0
    log_group: str = ""
    log_stream: str = ""
    show_errors: bool = False  # ours: log the text of an app's exceptions, which may quote what people wrote

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """HandlerError when the process was not started by Lambda or an emulator of it."""
        missing = [name for name in ("AWS_LAMBDA_RUNTIME_API", "_HANDLER") if not env.get(name)]
        if missing:
            raise HandlerError("Runtime.InvalidEnvironment", f"Not started by Lambda: {' and '.join(missing)} missing.")
        fd = env.get("_LAMBDA_TELEMETRY_LOG_FD", "")
        return cls(
            api=env["AWS_LAMBDA_RUNTIME_API"],
            handler=env["_HANDLER"],
            task_root=env.get("LAMBDA_TASK_ROOT", ""),
            runtime_dir=env.get("LAMBDA_RUNTIME_DIR", ""),
            concurrency=max(1, _number(env.get("AWS_LAMBDA_MAX_CONCURRENCY"))),
            snapstart=env.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start",
            log_format="JSON" if env.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON" else "Text",
            log_level=env.get("AWS_LAMBDA_LOG_LEVEL", "").upper(),
            telemetry_fd=int(fd) if fd.isdecimal() else None,
            function_name=env.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            function_version=env.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
            memory_mb=_number(env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")),
            log_group=env.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
            log_stream=env.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
            show_errors=env.get(SHOW_ERRORS, "off").lower() in ON,
        )


def check_switches(env: Mapping[str, str]) -> None:
    """HandlerError if our switch is misspelled, or neither on nor off: it would silently be off."""
    if faults := switch_faults(env):
        raise HandlerError("Runtime.InvalidEnvironment", " ".join(faults))


def switch_faults(env: Mapping[str, str], *, named: Callable[[str], str] = str) -> list[str]:
    """A sentence for each variable that is wrong. `named` maps a variable to its name in the sentence."""
    return [
        f"{named(name)} must be one of {', '.join(ON + OFF)}, and is {value!r}."
        if name == SHOW_ERRORS
        else f"{named(name)} is not a switch of the runtime; its only switch is {named(SHOW_ERRORS)}."
        for name, value in sorted(env.items())
        if name.startswith(PREFIX) and (name != SHOW_ERRORS or value.lower() not in ON + OFF)
    ]


def _number(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() else 0
