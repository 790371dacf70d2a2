"""`python -m lambda_src.dev.first_start`: what the function would refuse of an environment at its first start.

Reads a JSON object of `variables` and `options`, the names in cdk.json of variables that are no `settings`. Writes a
JSON list of `{"option": ..., "problem": ...}`; both together are one sentence. infra/preflight/settings_check.py runs
it before a
deployment, because a stage that cannot start would be down after a deployment that went well.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lambda_src.composition import access
from lambda_src.errors import SettingsError
from lambda_src.languages import FOLDERS, Languages
from lambda_src.runs.assistants import LoadAssistants, shipped
from lambda_src.runtime.environment import switch_faults
from lambda_src.settings import PREFIX, Settings

PUBLIC_KEYS, PAGE = "CHAT_AUTH_PUBLIC_KEYS", "CHAT_PAGE"


def faults(
    variables: Mapping[str, str],
    options: Mapping[str, str],
    load: LoadAssistants = shipped,
    languages: Sequence[Path] = FOLDERS,
) -> list[dict[str, str]]:
    """One for each variable that is wrong; none where the function would start. No secret is read."""

    def named(variable: str) -> str:
        return options.get(variable, f"settings.{variable.removeprefix(PREFIX).lower()}")

    sentences = switch_faults(variables, named=named)
    try:
        settings = Settings.from_env(variables, label=named)
    except SettingsError as error:
        return [_split(sentence) for sentence in [*sentences, *error.faults]]
    try:
        access.authenticator(settings, access.guest_tokens(settings, _unread))
    except SettingsError as error:
        sentences += [sentence.replace(PUBLIC_KEYS, named(PUBLIC_KEYS)) for sentence in error.faults]
    try:
        Languages(settings.page.languages, languages)
    except SettingsError as error:
        sentences += [f"{named(PAGE)}.languages is wrong: {fault}" for fault in error.faults]
    return [_split(sentence) for sentence in [*sentences, *_assistant_faults(settings, load)]]


def _assistant_faults(settings: Settings, load: LoadAssistants) -> list[str]:
    """A sentence for each assistant, model or tool that the page offers and the code does not have."""
    if not settings.page.assistants:
        return []
    try:
        assistants = load()
    except Exception:  # noqa: BLE001 - code of agent/, which may need what only the stage has
        return []
    sentences = []
    for offered in settings.page.assistants:
        name = offered["name"]
        if (assistant := assistants.get(name)) is None:
            known = ", ".join(repr(key) for key in assistants)
            sentences.append(f"page.assistants names {name!r}, and AGENTS in lambda_src/agent/ has only {known}.")
            continue
        own = assistant.settings(settings)
        for listed, known_names in (("models", own.models), ("tool_choices", own.tool_choices)):
            if unknown := sorted(set(offered.get(listed) or ()) - set(known_names)):
                sentences.append(f"page.assistants offers {', '.join(unknown)} for {name!r}, which AGENTS does not.")
    return sentences


def _split(sentence: str) -> dict[str, str]:
    """Every sentence begins with what it is about, which has no space in it."""
    option, _, problem = sentence.partition(" ")
    return {"option": option, "problem": problem}


def _unread(name: str) -> str:
    raise AssertionError(f"{name} is read when the first guest comes, never at a start")


if __name__ == "__main__":
    json.dump(faults(**json.load(sys.stdin)), sys.stdout)
