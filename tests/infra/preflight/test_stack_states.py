"""infra/preflight/stack_states.py: for each CloudFormation stack status, whether to deploy and what to do otherwise."""

import re
from typing import Any

import pytest
from botocore.loaders import create_loader

from infra.preflight.stack_states import refusal

NAME, REGION = "chatkit-dev-data", "eu-central-1"


def _refusal(status: str, *, loses: str | None = None) -> str:
    message = refusal(status, name=NAME, region=REGION, loses=loses)
    assert message is not None
    return message


def _model(kind: str) -> dict[str, Any]:
    """A description of CloudFormation that botocore ships: its "service-2" or "waiters-2" file."""
    model: dict[str, Any] = create_loader().load_service_model("cloudformation", kind)
    return model


def _statuses() -> list[str]:
    statuses: list[str] = _model("service-2")["shapes"]["StackStatus"]["enum"]
    return statuses


@pytest.mark.parametrize("status", _statuses())
def test_only_a_stack_that_was_never_created_or_is_half_deleted_may_be_deleted(status: str) -> None:
    message = refusal(status, name=NAME, region=REGION, loses="every thread")
    deleted = status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
    assert (message is not None and "delete-stack" in message) == deleted
    assert not deleted or (message is not None and message.endswith("That deletes every thread."))


def test_a_failed_update_rollback_is_continued() -> None:
    assert "`aws cloudformation continue-update-rollback --stack-name chatkit-dev-data" in _refusal(
        "UPDATE_ROLLBACK_FAILED"
    )


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"]
)
def test_a_stack_that_can_be_deployed_to_passes(status: str) -> None:
    assert refusal(status, name=NAME, region=REGION, loses=None) is None


FINAL_STATUS = {  # a final status for each status that is in progress
    "CREATE_IN_PROGRESS": "CREATE_COMPLETE",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_COMPLETE",
    "UPDATE_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
    "DELETE_IN_PROGRESS": "DELETE_COMPLETE",
    "IMPORT_IN_PROGRESS": "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_IN_PROGRESS": "IMPORT_ROLLBACK_COMPLETE",
}


def test_every_status_in_progress_has_a_final_status() -> None:
    assert FINAL_STATUS.keys() | {"REVIEW_IN_PROGRESS"} == {s for s in _statuses() if s.endswith("_IN_PROGRESS")}


@pytest.mark.parametrize(("status", "final"), FINAL_STATUS.items())
def test_the_wait_command_in_the_message_ends_at_the_final_status(status: str, final: str) -> None:
    command = re.search(r"cloudformation wait ([a-z-]+) ", _refusal(status))
    assert command is not None
    waiter = _model("waiters-2")["waiters"]["".join(word.title() for word in command[1].split("-"))]
    final_statuses = {a["expected"] for a in waiter["acceptors"] if a["state"] in ("success", "failure")}
    assert final in final_statuses
