"""Which optimizations are on: all of them, but for those that CHAT_OPTIMIZATIONS_OFF names.

No optimization changes a result: `make test-optimizations` runs the suites with each one off. An operator can switch
one off when an SDK's update breaks it before we fix it. docs/explanation/speed.md says what each is worth.
"""

import os
from collections.abc import Mapping
from typing import Literal, get_args

VARIABLE = "CHAT_OPTIMIZATIONS_OFF"
Optimization = Literal["prewarm", "requests", "ahead", "history", "deltas"]
OPTIMIZATIONS: tuple[Optimization, ...] = get_args(Optimization)


def switched_off(env: Mapping[str, str]) -> frozenset[str]:
    """The names in `env`. Settings refuses unknown ones with a sentence."""
    return frozenset(name for name in env.get(VARIABLE, "").replace(" ", "").split(",") if name)


_OFF = switched_off(os.environ)


def is_on(optimization: Optimization) -> bool:
    """Whether this process uses the optimization."""
    return optimization not in _OFF
