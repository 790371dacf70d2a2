"""What AWS leaves open, each a row of every verification: seen by another row, or why it cannot be seen from outside.

The keys are the emulator's switches, which offer both behaviours (lambda_src/dev/emulator/switches.py); a test holds
the two lists to each other.
"""

from lambda_src.dev.verify.row import Row, not_seen, seen

SEEN_BY = {  # switch: the row that shows it
    "hold_small_chunks": "small chunks",
    "freeze": "freeze and thaw",
}
UNSEEN = {  # switch: the row's name, and why there is nothing in it
    "hang_on_empty_body": (
        "hang on an empty answer",
        "our runtime puts one byte into an answer without any, so none of ours is empty; the row `empty body` shows "
        "that this suffices",
    ),
    "cut_on_error_trailers": (
        "error trailers",
        "the app ends a failed turn as a valid stream, so no trailers leave; the Errors metric counts them if they do",
    ),
    "cancel_when_caller_leaves": (
        "a caller that leaves on Managed Instances",
        "needs a stage on Managed Instances; elsewhere an invocation continues without its caller",
    ),
    "next_403_after_break": (
        "403 after a broken answer",
        "happens between the runtime and Lambda; the runtime asks again after 100 ms either way",
    ),
    "echo_invocation_id": (
        "Lambda-Runtime-Invocation-Id",
        "happens between Lambda and the runtime, which echoes it where it came",
    ),
}


def rows(found: list[Row]) -> list[Row]:
    """One row for each unknown, beside those that were found."""
    by_name = {row.name: row for row in found}
    told = []
    for switch, name in SEEN_BY.items():
        row = by_name.get(name)
        if row is None:
            told.append(not_seen(f"unknown: {switch}", f"the row `{name}` was not filled"))
        else:
            told.append(seen(f"unknown: {switch}", row.what))
    told += [not_seen(f"unknown: {name}", why) for name, why in UNSEEN.values()]
    return told
