"""`chat secret`: stores a stage's secrets as SSM SecureStrings, which the function reads. Input is never echoed.

A model's key is checked first, with a call that costs nothing. A refused key is not stored.
"""

import secrets
import sys
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lambda_src.cli.console import one_sentence, report
from lambda_src.cli.secrets import local as local_secrets
from lambda_src.cli.stage import OPENAI, Stage, read_stage, session_for
from lambda_src.errors import RequestError, SettingsError, UnavailableError
from lambda_src.runs.tool_secrets import NAME

app = typer.Typer(name="secret", help="A stage's secrets.", no_args_is_help=True)

MAX_CHARS = 4096  # of a standard parameter, which costs nothing
MIN_GUEST_CHARS = 32  # of what signs guests' tokens: lambda_src/auth/guest_tokens.py
NEW_BYTES = 48  # of a generated secret


class Name(StrEnum):
    """The secrets that every stage can have, beside those that it lists for its tools."""

    model_key = "model-key"
    guest_secret = "guest-secret"  # noqa: S105 - its name


StageName = Annotated[str | None, typer.Option("--stage", help="A stage of cdk.json (default: its default stage).")]
CdkJson = Annotated[Path, typer.Option("--cdk-json", help="The file with the stages.")]
CDK_JSON = Path("cdk.json")


@app.callback()
def secret() -> None:
    """A stage's secrets: SSM parameters of type SecureString."""


@app.command(name="set")
def set_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="model-key, guest-secret, or one that the stage lists in `secrets`.")],
    stage: StageName = None,
    cdk_json: CdkJson = CDK_JSON,
    local: Annotated[bool, typer.Option("--local", help="For `make dev` on this machine, not for a stage.")] = False,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Store the model's key without checking it.")] = False,
) -> None:
    """Ask for a secret (or read it from a pipe) and store it. Checks a model's key first."""
    with one_sentence():
        if local:
            set_local(name)
            return
        settings = read_stage(cdk_json, stage)
        parameter = parameter_of(name, settings)
        value = checked_shape(name, asked(f"{name} of stage {settings.name}"))
        if name == Name.model_key and not unchecked:
            response, dates = tried(value, settings.model_base_url or OPENAI)
            report(response)
            warn(settings, dates)
        version = write(parameter, value, settings, context.obj.endpoint_url)
    report(f"{parameter} is set, version {version}. {WHEN.get(name, WHEN_OF_TOOLS)}")


def set_local(name: str) -> None:
    """Ask for a secret of your tools and store it for `make dev`. RequestError: it is not a secret of tools."""
    if name in list(Name):
        raise RequestError(
            f"`make dev` reads no {name} from a file: see docs/how-to/models.md and docs/how-to/auth.md."
        )
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} is no secret's name: it has up to 63 of a-z, 0-9 and -, a letter first.")
    local_secrets.write(name, checked_shape(name, asked(f"{name} for make dev")))
    report(f"{name} is set in {local_secrets.FILE}; `make dev` reads it within a minute.")


@app.command()
def rotate(
    context: typer.Context,
    name: Annotated[Name, typer.Argument(help="Which; a model's key is made by its vendor.")],
    stage: StageName = None,
    cdk_json: CdkJson = CDK_JSON,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace a secret with a new random one, which nobody sees."""
    with one_sentence():
        if name is Name.model_key:
            raise RequestError("A model's key is made by its vendor: make one there, then `secret set model-key`.")
        settings = read_stage(cdk_json, stage)
        parameter = parameter_of(name, settings)
        if not yes:
            typer.confirm(f"End the session of every guest of stage {settings.name}?", abort=True, err=True)
        version = write(parameter, secrets.token_urlsafe(NEW_BYTES), settings, context.obj.endpoint_url)
    report(f"{parameter} is changed, version {version}. {WHEN[name]}")


WHEN_OF_TOOLS = "A function that had another one reads it within a minute."
WHEN: dict[str, str] = {
    Name.model_key: "A function without one looks every 30 s; one that had another goes on until that is refused.",
    Name.guest_secret: "Tokens signed with the one before are refused within a minute.",
}


def parameter_of(name: str, stage: Stage) -> str:
    """The parameter that holds this secret of `stage`. SettingsError: the stage has no use for it."""
    if name == Name.model_key:
        return stage.model_key
    if name == Name.guest_secret:
        if stage.guest_secret is None:
            raise SettingsError([f"Stage {stage.name} does not allow guests: its auth in cdk.json has no `guest`."])
        return stage.guest_secret
    if name not in stage.secrets:
        names = ", ".join((*Name, *stage.secrets))
        raise SettingsError(
            [f"Stage {stage.name} has no secret {name!r}: list it in its `secrets` in cdk.json. It has {names}."]
        )
    return f"/chatkit/{stage.name}/{name}"


def asked(prompt: str) -> str:
    """What is typed, without showing it; without a terminal, the first line of standard input.

    RequestError: it is not text.
    """
    if sys.stdin.isatty():
        typed: str = typer.prompt(prompt, hide_input=True, err=True, default="", show_default=False)
        return typed.strip()
    try:
        return sys.stdin.readline().strip()
    except UnicodeDecodeError:
        raise RequestError("It is not UTF-8 text: nothing is written.") from None


def checked_shape(name: str, value: str) -> str:
    """`value`, if it can be one. RequestError says why not, without quoting it."""
    if not value:
        raise RequestError("Nothing was typed: nothing is written.")
    if name in list(Name) and any(not "!" <= character <= "~" for character in value):
        raise RequestError("It holds a space or a letter that no key has: nothing is written. Was more than it pasted?")
    if not value.isprintable():  # an escape sequence of the terminal, or bytes that are not text
        raise RequestError("It holds a character that cannot be printed: nothing is written.")
    if len(value) > MAX_CHARS:
        raise RequestError(f"It has {len(value)} characters, and a parameter takes {MAX_CHARS}: nothing is written.")
    if name == Name.guest_secret and len(value) < MIN_GUEST_CHARS:
        raise RequestError(f"It has {len(value)} characters, and {MIN_GUEST_CHARS} are the least: nothing is written.")
    return value


def tried(key: str, base_url: str) -> tuple[str, Mapping[str, date]]:
    """A sentence on whether the API at `base_url` takes `key`, by listing its models, and their shutdown dates.

    RequestError: the API refuses the key.
    """
    import openai  # noqa: PLC0415 - a second that no other command needs

    from lambda_src.cli import retirement  # noqa: PLC0415 - as above

    try:
        dates = retirement.shutdown_dates(key, base_url)
    except openai.AuthenticationError:
        raise RequestError(
            f"{base_url} refuses this key: nothing is written. Is it of another vendor, or was it withdrawn? "
            "--unchecked writes it all the same."
        ) from None
    except openai.APIStatusError as error:
        return f"{base_url} answered {error.status_code} when asked for its models: the key is not proven.", {}
    except openai.APIConnectionError:
        return f"{base_url} cannot be reached from here: the key is not proven.", {}
    return f"{base_url} takes the key.", dates


def warn(stage: Stage, dates: Mapping[str, date]) -> None:
    """Say which models of `stage` are shut down soon. It never keeps a key from being written."""
    from lambda_src.cli import retirement  # noqa: PLC0415 - as above

    try:
        for model in retirement.retiring(stage, dates, today=retirement.today()):
            report(f"warning: {model}")
    except UnavailableError as fault:
        report(str(fault))


def write(parameter: str, value: str, stage: Stage, endpoint_url: str | None) -> int:
    """Write it over what is there, encrypted; returns its version.

    SettingsError: these credentials are of another account than the stage. UnavailableError: why AWS would not.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        ssm: Any = session_for(stage, endpoint_url).client("ssm", endpoint_url=endpoint_url)
        version: int = ssm.put_parameter(Name=parameter, Value=value, Type="SecureString", Overwrite=True)["Version"]
    except ClientError as error:  # its whole text could quote what was sent
        code = error.response.get("Error", {}).get("Code", "an error")
        raise UnavailableError(f"{parameter} is not written, AWS answered {code}.") from None
    except BotoCoreError as error:
        raise UnavailableError(f"{parameter} is not written: {str(error).rstrip('.')}.") from None
    return version
