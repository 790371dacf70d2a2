"""RequestContext, User and Turn: values of one request, created once and passed down. Knows no token, no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from lambda_src.errors import UnavailableError
from lambda_src.languages import ENGLISH, Language
from lambda_src.meter import Meter

if TYPE_CHECKING:
    from chatkit.types import ThreadItem, ThreadMetadata

EndReason = Literal["stopped", "deadline", "superseded", "shutdown"]
Claim = str | int | float | bool | tuple[str, ...]
"""The value of a token's claim, as tools read it. A list of strings becomes a tuple."""


def _no_claims() -> Mapping[str, Claim]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user or a guest, at one assistant.

    `id` is opaque (a hash of issuer and subject) and differs by assistant; `person` does not. `assistant` is the name
    of the assistant, "" for the one without a name.

    `issuer` and `subject` are the `iss` and `sub` of the user's token; use them to look up the user in your own
    services. Both are None for guests. `claims` has those claims of the token that the stage names (`claims` in
    cdk.json). All three are in memory for one request: never stored, never logged, and not part of `repr(user)`.

    `operates` names the assistants at which the user may answer as an operator (docs/how-to/operators.md), with a token
    that expires at `until_s` (epoch seconds; 0 if that is not known).
    """

    id: str
    is_guest: bool = False  # not signed in: smaller quotas
    assistant: str = ""
    issuer: str | None = field(default=None, repr=False, compare=False)
    subject: str | None = field(default=None, repr=False, compare=False)
    claims: Mapping[str, Claim] = field(default_factory=_no_claims, repr=False, compare=False)
    operates: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    until_s: int = field(default=0, repr=False, compare=False)

    @property
    def person(self) -> str:
        """The user's id without the assistant's name: the same at every assistant."""
        return self.id.removesuffix(f".{self.assistant}") if self.assistant else self.id

    def at(self, assistant: str) -> "User":
        """The person as a user of one assistant. The id differs, so each assistant sees only its own threads."""
        return replace(self, id=f"{self.id}.{assistant}", assistant=assistant) if assistant else self


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """What validation of a message has read: its thread (None if new) and the thread's newest items, newest first."""

    thread: "ThreadMetadata | None"
    items: "Sequence[ThreadItem]"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a store records about the turn that begins a thread: it holds the thread's lease for `lease_ms`, and can be
    looked up for `bound_s` by `key`, the idempotency key of its request.
    """

    key: str
    lease_ms: int
    bound_s: int


@dataclass(slots=True)
class Turn:
    """One user input and everything that it triggers. `id` matches `[A-Za-z0-9_-]{16,64}`.

    `end_reason` is set before the turn's task is cancelled, so that cleanup knows why; None if the turn ends normally.
    The token counts come from the vendor. They are None until it reports them, and stay None for an answer cut short.
    `model` is the vendor's name of the model that answered last.
    `ahead` is removed once another turn may have written to the thread.
    `input_tokens` is the estimated input of the first request to the model; `meter` reserves the turn's tokens.
    `uploads` has, by attachment id, the version (ETag) of each new file that was checked; only that version is kept.
    `message_id` and `thread_id` are the ids of the user's message and of the thread that it starts, if a retry of the
    request must find what an earlier attempt stored; None: new ids. `is_stored`: that message may be stored by now.
    `has_lost_key`: another attempt of the request has claimed its key, or may have: the thread is that one's.
    `registration` is set for a turn that begins a thread. `is_registered`: the store recorded it with the thread.
    `is_counted`: the turn adds to the stage's usage.
    `tools` has the names of the tools that ran, in order; `tool_errors` has their exceptions, which do not end the
    turn, because the model is informed that the tool failed.
    `offers_people`: the agent may ask for a person, because people answer at this assistant. `wants_person`: it did.
    `is_held`: the thread waits for a person or has one, so that the message is stored and no model answers it.
    """

    id: str
    end_reason: EndReason | None = None
    ahead: ReadAhead | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    model: str | None = None
    input_tokens: int = 0
    meter: Meter | None = None  # None: tokens are not metered
    uploads: dict[str, str] = field(default_factory=dict)
    message_id: str | None = None
    thread_id: str | None = None
    is_stored: bool = False
    has_lost_key: bool = False
    registration: Registration | None = None
    is_registered: bool = False
    is_counted: bool = False
    tools: list[str] = field(default_factory=list)
    tool_errors: list[Exception] = field(default_factory=list)
    offers_people: bool = False
    wants_person: bool = False
    is_held: bool = False

    def is_retried_after(self, error: BaseException | None) -> bool:
        """Whether a retry finds the message stored, or may after this `error`, so that its thread must not be deleted.

        Otherwise a delete that arrives late could remove the retry's thread.
        """
        is_unclear = self.has_lost_key or (self.is_stored and isinstance(error, UnavailableError))
        return is_unclear and self.message_id is not None

    def used(self, tokens_in: int, tokens_out: int, *, cached: int = 0) -> None:
        """Add what one run of the agent used; `cached` is the part of `tokens_in` that came from the prompt cache."""
        self.tokens_cached = (self.tokens_cached or 0) + cached
        self.tokens_in = (self.tokens_in or 0) + tokens_in
        self.tokens_out = (self.tokens_out or 0) + tokens_out


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request: the user, the turn and the deadline. Tools, actions and stores all receive it.

    `user` is the caller. `request_id` is the id in the log. `deadline_ms` is when Lambda ends the invocation, in epoch
    milliseconds; None outside Lambda. `source` is a hash of a guest's network with the day's key, "" if unknown.
    `release` is the version of the function that answers, "" outside Lambda.
    `language` is the one that the user reads.
    Stores read only `user.id` and `turn_id`.
    """

    user: User
    request_id: str
    deadline_ms: int | None = None
    turn: Turn | None = None
    source: str = ""
    release: str = ""
    language: Language = ENGLISH

    @property
    def turn_id(self) -> str | None:
        """The id of the request's turn, if any. Stores order what a turn writes by its lease."""
        return None if self.turn is None else self.turn.id
