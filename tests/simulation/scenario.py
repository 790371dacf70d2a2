"""A seed's deployment and its schedule: everything that will happen, decided before it begins.

A step draws its own details from its own number, so a schedule can be shortened without changing the steps that stay.
"""

import random
from dataclasses import dataclass, field

from tests.simulation.faults import FAULTS, Fault

WEIGHTS: dict[str, int] = {
    "say": 46,
    "retry": 7,
    "stop": 12,
    "reload": 9,
    "leave": 4,
    "delete": 4,
    "rename": 3,
    "list": 3,
    "twice": 5,
    "sweep": 2,
}
SEQUELS = (  # soon after a message
    ("stop", "stop", "delete", "delete", "rename", "reload", "leave", "second", "kill", "kill", "faults", "cut", "cut")
)
SOON_S = (0.0005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.6, 3.0, 6.0)  # fmt: skip
TROUBLE: dict[str, int] = {"kill": 4, "faults": 5, "breaks": 3, "deploy": 1, "expire": 2}
RARE: dict[str, int] = {"link": 2, "erase": 1}
SCENES: dict[str, int] = {  # somebody says something, and soon after that:
    "watch": 4,  # the same person shows the thread in another window
    "regenerate": 3,  # ... or wants another answer there
    "edit": 2,  # ... or replaces the message
    "approve": 2,  # ... or allows what a tool does, in one window or in two
    "delete": 2,
    "link": 2,  # a guest signs in
    "erase": 2,  # an operator erases the person
}
SCENES_OF_TROUBLE: dict[str, int] = {
    "hiccups": 5,  # single responses of the store are lost
    "unclear": 3,  # the store applies some requests and never responds to them
    "refused": 3,  # the store never accepts some requests
    "terminate": 3,  # a process gets SIGTERM
    "kill": 2,
}
BAD = ("unclear", "refused")  # promises are relaxed while requests fail for good, so calm deployments have none
OF_THE_DAY = (
    "share",  # Managed Instances: a process takes several invocations at once
    "restore",  # SnapStart: a process starts from a snapshot of hours ago
    "ponder",  # the model pauses before its first word
)
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_s`, `kind` happens; `pick` decides to whom and how."""

    number: int
    at_s: float
    kind: str
    pick: int

    def __str__(self) -> str:
        return f"{self.number}: {self.kind} at {self.at_s:.3f} s"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What stays as it is while a schedule is shortened."""

    users: int
    guests: int
    tabs: int
    old_tabs: float  # the share of tabs that show last week's page
    concurrency: int
    timeout_s: float
    latency_s: float
    cold_s: float
    skews_s: tuple[float, ...]
    model_trouble: float
    reports_usage: bool  # whether the vendor says what it charges
    has_titles: bool
    running_turns: int
    messages_per_day: int
    tokens_per_day: int
    stage_tokens_per_day: int
    retention_days: int
    starts_before_midnight_s: float | None
    ttl_late_s: int  # how late DynamoDB may delete
    is_calm: bool  # no request to the store fails for good


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed."""

    seed: int
    deployment: Deployment
    steps: tuple[Step, ...]
    length_s: float
    rates: dict[int, dict[Fault, float]] = field(default_factory=dict)


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"{seed}/scenario")
    is_calm = rng.random() < 0.3
    deployment = Deployment(
        users=rng.choice((1, 2, 2, 3)),
        guests=rng.choice((0, 0, 1)),
        tabs=rng.choice((1, 2, 2, 3)),
        old_tabs=rng.choice((0.0, 0.0, 0.3, 1.0)),
        concurrency=rng.choice((1, 2, 4, 10, 20)),
        timeout_s=rng.choice((12.0, 30.0, 60.0, 300.0)),
        latency_s=rng.choice((0.0005, 0.003, 0.003, 0.02, 0.1)),
        cold_s=rng.choice((0.2, 1.0, 3.0)),
        skews_s=rng.choice(((0.0,), (0.0,), (0.0, 0.05, -0.05), (0.0, 2.0, -2.0))),
        model_trouble=0.0 if is_calm else rng.choice((0.0, 0.1, 0.3)),
        reports_usage=rng.random() < 0.8,
        has_titles=rng.random() < 0.5,
        running_turns=rng.choice((0, 0, 1, 2)),
        messages_per_day=rng.choice((0, 0, 0, 5)),
        tokens_per_day=rng.choice((0, 0, 20_000)),
        stage_tokens_per_day=rng.choice((0, 50_000)),
        retention_days=rng.choice((0, 0, 1)),
        starts_before_midnight_s=rng.choice((None, None, None, 20.0)),
        ttl_late_s=rng.choice((0, 3600, 2 * DAY_S)),
        is_calm=is_calm,
    )
    kinds = dict(WEIGHTS)
    if not is_calm:
        kinds |= TROUBLE
    if rng.random() < 0.4:
        kinds |= RARE
    length_s = rng.choice((15.0, 40.0, 90.0))
    moments = sorted(rng.uniform(0, length_s) for _ in range(rng.choice((8, 20, 35))))
    steps = tuple(
        Step(number, at_s, rng.choices(list(kinds), list(kinds.values()))[0], rng.getrandbits(32))
        for number, at_s in enumerate(moments)
    )
    return Scenario(seed, deployment, steps + scenes_of(seed, len(steps), length_s, is_calm=is_calm), length_s)


def scenes_of(seed: int, first: int, length_s: float, *, is_calm: bool) -> tuple[Step, ...]:
    """More steps, from numbers of their own: what the other steps of a seed do does not depend on them."""
    rng = random.Random(f"{seed}/scenes")
    kinds = SCENES | {kind: weight for kind, weight in SCENES_OF_TROUBLE.items() if not is_calm or kind not in BAD}
    moments = [(0.0, kind) for kind in OF_THE_DAY if rng.random() < 0.25]
    moments += [
        (rng.uniform(0, length_s), f"scene {rng.choices(list(kinds), list(kinds.values()))[0]}")
        for _ in range(rng.choice((0, 3, 6)))
    ]
    return tuple(Step(first + place, at_s, kind, rng.getrandbits(32)) for place, (at_s, kind) in enumerate(moments))


def fault_rates(rng: random.Random) -> dict[Fault, float]:
    """Which requests fail in one window of bad weather."""
    chosen = rng.sample(FAULTS, rng.choice((1, 1, 2, 4)))
    return {fault: rng.choice((0.05, 0.2, 0.6)) for fault in chosen}
