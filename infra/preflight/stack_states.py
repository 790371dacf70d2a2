"""What a stack's status asks of a person before it can be deployed to. Pure: names, statuses and commands, no AWS.

Only a stack that was never whole, or is half deleted, may be deleted. One whose update could neither be made nor taken
back (UPDATE_ROLLBACK_FAILED) still runs and holds everything: its rollback can be continued.
"""

NEVER_WHOLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
HALF_TAKEN_BACK = "UPDATE_ROLLBACK_FAILED"
NOT_YET_MADE = "REVIEW_IN_PROGRESS"  # its first change set is pending or failed: the next deployment creates the stack

# By how a status begins, the waiter of the AWS CLI that ends when it does; the longer beginning first.
WAITERS = {
    "UPDATE_ROLLBACK_": "stack-rollback-complete",
    "UPDATE_": "stack-update-complete",
    "DELETE_": "stack-delete-complete",
    "IMPORT_": "stack-import-complete",
    "CREATE_": "stack-create-complete",
    "ROLLBACK_": "stack-create-complete",  # of a creation; the rollback waiter knows updates only
}


def refusal(status: str, *, name: str, region: str, loses: str | None) -> str | None:
    """Why a stack in `status` cannot be deployed to, with the command that mends it; None where it can.

    loses: what deleting the stack would take along; None where nobody would miss anything.
    """
    of_it = f"--stack-name {name} --region {region}"
    if status == NOT_YET_MADE:
        return None
    if status == HALF_TAKEN_BACK:
        go_on = f"aws cloudformation continue-update-rollback {of_it}"
        wait = f"aws cloudformation wait stack-rollback-complete {of_it}"
        return (
            f"{name} is in {status}, an update could not be taken back: `{go_on}`, then `{wait}`, then again. "
            "Do not delete it: it still runs."
        )
    if status in NEVER_WHOLE:
        warning = f" That deletes {loses}." if loses else ""
        delete = f"aws cloudformation delete-stack {of_it}"
        return f"{name} is in {status} and takes no update: `{delete}`, then again.{warning}"
    if status.endswith("_IN_PROGRESS"):
        waiter = next((waits for begin, waits in WAITERS.items() if status.startswith(begin)), "stack-update-complete")
        return (
            f"{name} is in {status}, another deployment runs: `aws cloudformation wait {waiter} {of_it}`, then again."
        )
    return None
