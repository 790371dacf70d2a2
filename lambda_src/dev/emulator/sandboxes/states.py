"""The state machine of the Runtime API: which calls a runtime may make, and when. Pure: no socket, no clock.

Classic, one invocation at a time (the service's own order, from its open part, RIE's rapid core):

    STARTED -> READY -> RUNNING -> RESPONDING -> RESPONDED -> READY ...
       next     deliver    response      end / error       next
"""

import enum
from dataclasses import dataclass, field


class RefusedError(Exception):
    """An error response of the Runtime API: its status, errorType and errorMessage."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind, self.message = status, kind, message
        super().__init__(f"{status} {kind}: {message}")


def invalid_state(what: str) -> RefusedError:
    return RefusedError(403, "InvalidStateTransition", f"Transition from {what} is not allowed.")


def invalid_request_id() -> RefusedError:
    return RefusedError(400, "InvalidRequestID", "Invalid request ID")


def invoke_timeout() -> RefusedError:
    return RefusedError(410, "InvokeTimeout", "Invoke timeout")


def truncated_request() -> RefusedError:
    return RefusedError(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


class Phase(enum.Enum):
    STARTED = enum.auto()  # loading the function
    READY = enum.auto()  # waiting in `next`
    RUNNING = enum.auto()  # has the event
    RESPONDING = enum.auto()  # sending the response
    RESPONDED = enum.auto()  # the response is complete; the sandbox is busy until the following `next`
    BROKEN = enum.auto()  # dropped the response midway: `next` is refused once
    FAULTED = enum.auto()  # sent an unknown response mode: `next` is refused until the reset


@dataclass(slots=True)
class ClassicStates:
    """One invocation at a time. Each method is a transition; RefusedError if it is not allowed."""

    phase: Phase = Phase.STARTED
    request_id: str | None = None
    refuse_after_break: bool = True

    def next(self) -> bool:
        """The runtime calls `next`. True: deliver the event of `request_id` again; False: wait for another one."""
        match self.phase:
            case Phase.RUNNING:
                return True
            case Phase.BROKEN if self.refuse_after_break:
                self.phase = Phase.RESPONDED
                raise invalid_state("InvocationResponse to Next")
            case Phase.RESPONDING | Phase.FAULTED:
                raise invalid_state(f"{self.phase.name} to Next")
            case _:
                self.phase, self.request_id = Phase.READY, None
                return False

    def deliver(self, request_id: str) -> None:
        """The event is delivered."""
        self.phase, self.request_id = Phase.RUNNING, request_id

    def respond(self, request_id: str) -> None:
        """The runtime begins to respond."""
        self._check(request_id)
        self.phase = Phase.RESPONDING

    def error(self, request_id: str) -> None:
        """The runtime reports an error instead of a response."""
        self._check(request_id)
        self.phase = Phase.RESPONDED

    def end(self, request_id: str) -> None:
        """The response is complete."""
        if request_id == self.request_id:
            self.phase = Phase.RESPONDED

    def broke(self, request_id: str) -> None:
        """The connection ended in the middle of the response."""
        if request_id == self.request_id:
            self.phase = Phase.BROKEN

    def fault(self) -> None:
        self.phase = Phase.FAULTED

    def late(self, request_id: str) -> None:
        """The deadline of `request_id` has passed: the process dies anyway."""

    def _check(self, request_id: str) -> None:
        if request_id != self.request_id:
            raise invalid_request_id()
        if self.phase is not Phase.RUNNING:
            raise invalid_state(f"{self.phase.name} to InvocationResponse")


@dataclass(slots=True)
class ManagedStates:
    """Many at a time (Managed Instances): `next` is always allowed, /error also during the response, 410 if late."""

    running: dict[str, Phase] = field(default_factory=dict)
    timed_out: set[str] = field(default_factory=set)

    def next(self) -> bool:
        return False

    def deliver(self, request_id: str) -> None:
        self.running[request_id] = Phase.RUNNING

    def respond(self, request_id: str) -> None:
        if self._phase(request_id) is not Phase.RUNNING:
            raise invalid_state("RESPONDING to InvocationResponse")
        self.running[request_id] = Phase.RESPONDING

    def error(self, request_id: str) -> None:
        self._phase(request_id)
        del self.running[request_id]

    def end(self, request_id: str) -> None:
        self.running.pop(request_id, None)

    def broke(self, request_id: str) -> None:
        self.running.pop(request_id, None)

    def fault(self) -> None:
        """An unknown mode refuses only this response."""

    def late(self, request_id: str) -> None:
        self.running.pop(request_id, None)
        self.timed_out.add(request_id)

    def _phase(self, request_id: str) -> Phase:
        if request_id in self.timed_out:
            raise invoke_timeout()
        if request_id not in self.running:
            raise invalid_request_id()
        return self.running[request_id]


States = ClassicStates | ManagedStates
