"""The secrets of `make dev`: the file .local/secrets, which only its owner may read, or variables of the environment.

`chat secret set NAME --local` writes the file; lambda_src/dev/local.py reads it.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from lambda_src.errors import SettingsError
from lambda_src.runs.tool_secrets import SecretReadError

FILE = Path(__file__).resolve().parents[3] / ".local" / "secrets"  # git-ignored
OWNER_ONLY = 0o600


def variable_of(name: str) -> str:
    """The variable that holds this secret: `SHOP_API_KEY` for `shop-api-key`."""
    return name.upper().replace("-", "_")


def read(name: str, *, env: Mapping[str, str], file: Path = FILE) -> str:
    """The value of a secret, from `env` or else from the file. SecretReadError: neither has it."""
    if variable_of(name) in env:
        return env[variable_of(name)]
    try:
        return _load(file)[name]
    except KeyError:
        raise SecretReadError(
            f'run `make chat ARGS="secret set {name} --local"`, or list it in `secrets` of the stage in cdk.json and '
            f"set {variable_of(name)} in your shell"
        ) from None
    except SettingsError as fault:
        raise SecretReadError(fault.faults[0].rstrip(".")) from None


def write(name: str, value: str, *, file: Path = FILE) -> None:
    """Put a secret into the file. SettingsError: the file is not ours to read, or is damaged."""
    kept = _load(file) | {name: value}
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8") as opened:
        json.dump(kept, opened, indent=2)
    new.replace(file)


def _load(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    if mode := stat.S_IMODE(file.stat().st_mode) & ~OWNER_ONLY:
        raise SettingsError([f"{file} can be read or changed by others (mode {mode | OWNER_ONLY:o}): chmod 600 it."])
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise SettingsError([f"{file} is damaged: delete it, and set the secrets again."])
    return kept
