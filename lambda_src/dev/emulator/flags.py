"""The switches as flags of a command line: `--managed 16 --deadline 20 --hold-small-chunks`. Starts nothing."""

import argparse

from lambda_src.dev.emulator.switches import Cors, Switches

HELD_BYTES = 1024  # `--hold-small-chunks` without a number: a line of events is smaller than this
DEFAULTS = Switches()


def add_flags(parser: argparse.ArgumentParser, *, timeout_s: float = DEFAULTS.timeout_s) -> None:
    """Give `parser` a flag for each switch; without any, `switches_from` returns the defaults (and `timeout_s`)."""
    add = parser.add_argument
    add("--processes", type=int, default=DEFAULTS.processes, help="sandboxes at a time; beyond them: 429")
    add("--managed", type=int, default=0, metavar="N", help="Managed Instances: N invocations at a time in one process")
    add("--snapstart", action="store_true", help="load, snapshot, restore, and only then invoke")
    add("--payload", choices=("1.0", "2.0"), default="2.0", help="1.0: as API Gateway REST streaming sends it")
    add("--deadline", type=float, default=timeout_s, metavar="S", help="the function's time-out in seconds")
    add("--init-timeout", type=float, default=DEFAULTS.init_timeout_s, metavar="S", help="how long loading may take")
    add(
        "--memory",
        type=int,
        default=DEFAULTS.memory_mb,
        metavar="MB",
        help="the memory size in the function's environment",
    )
    add(
        "--log-format",
        choices=("Text", "JSON"),
        default=DEFAULTS.log_format,
        help="the log format in the function's environment",
    )
    add("--cors", action="append", default=[], metavar="ORIGIN", help="the URL answers CORS itself, for this origin")
    add("--rate", type=int, default=DEFAULTS.rate_bytes_per_s, metavar="B", help="bytes a second after the burst")
    add("--burst", type=int, default=DEFAULTS.burst_bytes, metavar="B", help="bytes an answer may send at once")
    add("--hold-small-chunks", type=int, nargs="?", const=HELD_BYTES, default=0, metavar="B",
        help=f"a chunk under B bytes ({HELD_BYTES}) waits in the front until more follows")  # fmt: skip
    add("--no-hang-on-empty-body", dest="hang", action="store_false", help="a prelude alone is an answer")
    add("--end-plainly-on-error", dest="cut", action="store_false", help="a midstream error does not cut the answer")
    add("--no-freeze", dest="freeze", action="store_false", help="do not SIGSTOP the process between invocations")
    add("--no-cancel", dest="cancel", action="store_false",
        help="Managed Instances: the invocation continues when its caller leaves")  # fmt: skip
    add("--no-403-after-break", dest="refuse", action="store_false", help="`next` is never refused")
    add("--no-invocation-id", dest="echo", action="store_false", help="`next` has no Lambda-Runtime-Invocation-Id")


def switches_from(flags: argparse.Namespace) -> Switches:
    """The switches that the flags of `add_flags` set."""
    return Switches(
        processes=flags.processes,
        managed=flags.managed,
        snapstart=flags.snapstart,
        payload=flags.payload,
        timeout_s=flags.deadline,
        init_timeout_s=flags.init_timeout,
        memory_mb=flags.memory,
        log_format=flags.log_format,
        cors=Cors(allow_origins=tuple(flags.cors), allow_headers=("*",)) if flags.cors else None,
        rate_bytes_per_s=flags.rate,
        burst_bytes=flags.burst,
        hold_small_chunks=flags.hold_small_chunks,
        hang_on_empty_body=flags.hang,
        cut_on_error_trailers=flags.cut,
        freeze=flags.freeze,
        cancel_when_caller_leaves=flags.cancel,
        next_403_after_break=flags.refuse,
        echo_invocation_id=flags.echo,
    )
