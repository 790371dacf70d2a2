"""`python -m lambda_src.dev.first_start`: what the function would refuse of an environment at its first start.

Reads the variables as a JSON object, writes the faults as a JSON list of sentences. infra/first_start.py asks it: a
stage that cannot start would be down after a deployment that went well.
"""

import json
import sys
from collections.abc import Mapping

from lambda_src import doors
from lambda_src.errors import SettingsError
from lambda_src.runtime.environment import switch_faults
from lambda_src.settings import Settings


def faults(env: Mapping[str, str]) -> list[str]:
    """One sentence for each; none where the function would start. No secret is read."""
    found = switch_faults(env)
    try:
        settings = Settings.from_env(env)
        doors.authenticator(settings, doors.guest_tokens(settings, _unread))
    except SettingsError as error:
        found += error.faults
    return found


def _unread(name: str) -> str:
    raise AssertionError(f"{name} is read when the first guest comes, never at a start")


if __name__ == "__main__":
    json.dump(faults(json.load(sys.stdin)), sys.stdout)
