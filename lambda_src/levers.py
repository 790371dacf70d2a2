"""Which shortcuts are taken around the plain paths of the SDKs. All of them; CHAT_LEVERS_OFF names those that are not.

No shortcut changes what comes out: `make test-levers` runs the suites with each one off. An operator has a way back
when an SDK's update breaks one before we do. docs/speed.md says what each is worth.
"""

import os
from collections.abc import Mapping
from typing import Literal, get_args

VARIABLE = "CHAT_LEVERS_OFF"  # read when this is imported: some shortcuts are taken before any setting is read
Lever = Literal["generated", "names", "models", "requests", "ahead", "history", "deltas"]
LEVERS: tuple[Lever, ...] = get_args(Lever)


def off(env: Mapping[str, str]) -> frozenset[str]:
    """The names in `env`. Unknown ones are refused by Settings, which says so in words."""
    return frozenset(name for name in env.get(VARIABLE, "").replace(" ", "").split(",") if name)


_OFF = off(os.environ)


def taken(lever: Lever) -> bool:
    """Whether a shortcut is taken in this process."""
    return lever not in _OFF
