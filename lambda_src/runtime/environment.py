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
SWITCHES = ("COALESCE", "SHOW_ERRORS")


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
    coalesce: bool = True  # ours: what is ready at one moment leaves in one write
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
            coalesce=_is_on(env, "COALESCE", default="on"),
            show_errors=_is_on(env, "SHOW_ERRORS"),
        )


def check_switches(env: Mapping[str, str]) -> None:
    """HandlerError if one of our switches is misspelled, or neither on nor off: it would silently be off."""
    if faults := switch_faults(env):
        raise HandlerError("Runtime.InvalidEnvironment", " ".join(faults))


def switch_faults(env: Mapping[str, str], *, named: Callable[[str], str] = str) -> list[str]:
    """The faults of our switches, a sentence each. `named` gives the name by which a sentence calls a variable."""
    switches = {name: value for name, value in env.items() if name.startswith(PREFIX)}
    allowed = ", ".join(named(PREFIX + switch) for switch in SWITCHES)
    return [
        f"{named(name)} is not a switch of the runtime; known are {allowed}."
        if name.removeprefix(PREFIX) not in SWITCHES
        else f"{named(name)} must be one of {', '.join(ON + OFF)}, and is {value!r}."
        for name, value in sorted(switches.items())
        if name.removeprefix(PREFIX) not in SWITCHES or value.lower() not in ON + OFF
    ]


def _is_on(env: Mapping[str, str], switch: str, *, default: str = "off") -> bool:
    return env.get(PREFIX + switch, default).lower() in ON


def _number(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() else 0
