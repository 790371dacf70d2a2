"""infra/preflight/stack_states.py: each status of a stack, and what a person is told to do about it."""

import re
from typing import Any

import pytest
from botocore.loaders import create_loader

from infra.preflight.stack_states import refusal

NAME, REGION = "chatkit-dev-data", "eu-central-1"


def _said(status: str, *, loses: str | None = None) -> str:
    said = refusal(status, name=NAME, region=REGION, loses=loses)
    assert said is not None
    return said


def _described(what: str) -> dict[str, Any]:
    """What the AWS CLI knows of CloudFormation."""
    found: dict[str, Any] = create_loader().load_service_model("cloudformation", what)
    return found


def _statuses() -> list[str]:
    found: list[str] = _described("service-2")["shapes"]["StackStatus"]["enum"]
    return found


@pytest.mark.parametrize("status", _statuses())
def test_only_what_was_never_whole_or_is_half_deleted_may_be_deleted(status: str) -> None:
    said = refusal(status, name=NAME, region=REGION, loses="every thread")
    deleted = status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
    assert (said is not None and "delete-stack" in said) == deleted
    assert not deleted or (said is not None and said.endswith("That deletes every thread."))


def test_an_update_that_could_not_be_taken_back_is_continued() -> None:
    assert "`aws cloudformation continue-update-rollback --stack-name chatkit-dev-data" in _said(
        "UPDATE_ROLLBACK_FAILED"
    )


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"]
)
def test_what_takes_a_deployment_is_let_pass(status: str) -> None:
    assert refusal(status, name=NAME, region=REGION, loses=None) is None


ENDS = {  # a status that passes, and one in which it ends
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


def test_every_status_that_passes_is_among_those_below() -> None:
    assert ENDS.keys() | {"REVIEW_IN_PROGRESS"} == {s for s in _statuses() if s.endswith("_IN_PROGRESS")}


@pytest.mark.parametrize(("status", "end"), ENDS.items())
def test_the_wait_that_is_named_ends_when_the_status_does(status: str, end: str) -> None:
    named = re.search(r"cloudformation wait ([a-z-]+) ", _said(status))
    assert named is not None
    waiter = _described("waiters-2")["waiters"]["".join(word.title() for word in named[1].split("-"))]
    ending = {a["expected"] for a in waiter["acceptors"] if a["state"] in ("success", "failure")}
    assert end in ending
