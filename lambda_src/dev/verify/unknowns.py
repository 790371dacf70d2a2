"""Behaviors that AWS leaves open, one row each in every run: observed by another check, or not visible from outside.

The keys are the emulator's switches, which offer both behaviors (lambda_src/dev/emulator/switches.py). The table in
docs/reference/unknown-behaviors.md describes how to observe the others by hand; tests check that both lists agree.
"""

from lambda_src.dev.verify.row import Row, not_seen, seen

SEEN_BY = {  # switch: the row that shows it
    "hold_small_chunks": "small chunks",
    "freeze": "freeze and thaw",
}
UNSEEN = {  # switch: the row's name, and why it is empty
    "hang_on_empty_body": (
        "hang on an empty answer",
        "the runtime puts one byte into an empty response; the row `empty body` shows that this is enough",
    ),
    "cut_on_error_trailers": (
        "error trailers",
        "the app ends a failed turn as a valid stream, so it sends no trailers; the Errors metric would count them",
    ),
    "cancel_when_caller_leaves": (
        "a caller that leaves on Managed Instances",
        "needs Managed Instances: `make prove SUBNETS= GROUPS=` shows it there as the row `a client that leaves`",
    ),
    "next_403_after_break": (
        "403 after a broken answer",
        "happens between the runtime and Lambda; the runtime retries after 100 ms either way",
    ),
    "echo_invocation_id": (
        "Lambda-Runtime-Invocation-Id",
        "happens between Lambda and the runtime, which sends the header back whenever it gets one",
    ),
}


def rows(finished: list[Row]) -> list[Row]:
    """One row per unknown, given the other rows of the run."""
    by_name = {row.name: row for row in finished}
    unknown = []
    for switch, name in SEEN_BY.items():
        row = by_name.get(name)
        if row is None:
            unknown.append(not_seen(f"unknown: {switch}", f"the check `{name}` did not run"))
        else:
            unknown.append(seen(f"unknown: {switch}", row.what))
    return unknown + [not_seen(f"unknown: {name}", why) for name, why in UNSEEN.values()]
