"""lambda_src/dev/emulator/sandboxes/states.py: state machines for classic Lambda and Managed Instances."""

import pytest

from lambda_src.dev.emulator.sandboxes.states import ClassicStates, ManagedStates, Phase, RefusedError


def running() -> ClassicStates:
    states = ClassicStates()
    states.next()
    states.deliver("r-1")
    return states


def refusal(call: object, *arguments: str) -> tuple[int, str]:
    assert callable(call)
    with pytest.raises(RefusedError) as refused:
        call(*arguments)
    return refused.value.status, refused.value.kind


def test_the_phases_of_an_invocation() -> None:
    states = running()
    phases = [states.phase]
    states.respond("r-1")
    phases.append(states.phase)
    states.end("r-1")
    phases.append(states.phase)
    states.next()
    phases.append(states.phase)
    assert phases == [Phase.RUNNING, Phase.RESPONDING, Phase.RESPONDED, Phase.READY]


def test_a_second_next_before_the_response_gets_the_same_event() -> None:
    assert running().next() is True


def test_next_during_the_response_is_refused() -> None:
    states = running()
    states.respond("r-1")
    assert refusal(states.next) == (403, "InvalidStateTransition")


def test_next_after_a_broken_response_is_refused_once() -> None:
    states = running()
    states.respond("r-1")
    states.broke("r-1")
    assert refusal(states.next) == (403, "InvalidStateTransition")
    assert states.next() is False


def test_next_after_a_broken_response_can_be_allowed_by_a_switch() -> None:
    states = ClassicStates(phase=Phase.BROKEN, refuse_after_break=False)
    assert states.next() is False


def test_next_after_an_invalid_mode_is_refused_until_the_reset() -> None:
    states = running()
    states.fault()
    assert [refusal(states.next), refusal(states.next)] == [(403, "InvalidStateTransition")] * 2


@pytest.mark.parametrize("call", ["respond", "error"])
def test_a_response_to_another_request_id_is_refused(call: str) -> None:
    assert refusal(getattr(running(), call), "r-2") == (400, "InvalidRequestID")


@pytest.mark.parametrize("call", ["respond", "error"])
def test_a_second_response_is_refused(call: str) -> None:
    states = running()
    states.respond("r-1")
    assert refusal(getattr(states, call), "r-1") == (403, "InvalidStateTransition")


def test_an_error_counts_as_a_response() -> None:
    states = running()
    states.error("r-1")
    assert states.phase is Phase.RESPONDED


def managed() -> ManagedStates:
    states = ManagedStates()
    for request_id in ("r-1", "r-2"):
        states.next()
        states.deliver(request_id)
    return states


def test_managed_instances_accept_responses_in_any_order() -> None:
    states = managed()
    states.respond("r-2")
    states.respond("r-1")
    states.end("r-1")
    states.end("r-2")
    assert states.running == {}


def test_managed_instances_accept_an_error_midstream() -> None:
    states = managed()
    states.respond("r-1")
    states.error("r-1")
    assert "r-1" not in states.running


@pytest.mark.parametrize("call", ["respond", "error"])
def test_managed_instances_answer_a_late_response_with_410(call: str) -> None:
    states = managed()
    states.late("r-1")
    assert refusal(getattr(states, call), "r-1") == (410, "InvokeTimeout")


@pytest.mark.parametrize("call", ["respond", "error"])
def test_managed_instances_refuse_an_unknown_request_id(call: str) -> None:
    assert refusal(getattr(managed(), call), "r-3") == (400, "InvalidRequestID")


def test_managed_instances_refuse_a_second_response() -> None:
    states = managed()
    states.respond("r-1")
    assert refusal(states.respond, "r-1")[0] == 403
