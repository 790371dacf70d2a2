"""How the emulated Lambda behaves: its modes, and behaviors that AWS does not document. Values only, no IO.

Where AWS does not document what happens, a switch offers both behaviors, and the code must work with either.
"""

from dataclasses import dataclass
from typing import Literal

from lambda_src.dev.emulator.protocol import BURST_BYTES, INIT_S, RATE_BYTES_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """The CORS setting of a function URL; with one, the URL answers OPTIONS itself."""

    allow_origins: tuple[str, ...]  # exact, or "*"; "http://localhost:*" is any port there, which AWS does not support
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """One emulated function. The defaults are a plain function behind a function URL with RESPONSE_STREAM."""

    # Modes
    processes: int = 4  # sandboxes at a time; one more request is a 429, as with reserved concurrency
    managed: int = 0  # Managed Instances: so many invocations at a time in one process; 0 is off
    snapstart: bool = False  # load, snapshot, pause, restore, and only then invoke
    payload: Literal["1.0", "2.0"] = "2.0"  # 1.0 is what API Gateway REST streaming sends
    timeout_s: float = 60.0  # of the function; at the deadline the process is killed (managed: its response is a 410)
    init_timeout_s: float = INIT_S  # on-demand: a slower init is killed, and runs again within the invocation's time
    memory_mb: int = 512
    log_format: Literal["Text", "JSON"] = "JSON"  # as the stack sets it
    shutdown_s: float = 0.15  # from SIGTERM to SIGKILL if an extension is registered (measured; AWS's page says 0.5)
    cors: Cors | None = None
    burst_bytes: int = BURST_BYTES  # what an answer may send at once
    rate_bytes_per_s: int = RATE_BYTES_PER_S  # ... and from then on

    # Reports and unknowns
    hang_on_empty_body: bool = True  # a prelude without one body byte never reaches the client
    hold_small_chunks: int = 0  # bytes: a smaller chunk waits in the front until more follows
    cut_on_error_trailers: bool = True  # a midstream error cuts the connection; off: the answer seems to end well
    freeze: bool = True  # SIGSTOP between invocations, as the sandbox is frozen; never on Managed Instances
    cancel_when_caller_leaves: bool = (
        True  # Managed Instances only, read in RIE; on other functions the invocation continues
    )
    next_403_after_break: bool = True  # after a response POST that broke, the first `next` is refused
    echo_invocation_id: bool = True  # `next` has Lambda-Runtime-Invocation-Id (2026-07); another one back is a 410
