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
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Store the model's key without testing it.")] = False,
) -> None:
    """Prompt for a secret (or read it from a pipe) and store it. Tests a model's key first."""
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
            f"`make dev` does not read {name} from a file: see docs/how-to/models.md and docs/how-to/auth.md."
        )
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} is not a name of a secret: use up to 63 of a-z, 0-9 and -, a letter first.")
    local_secrets.write(name, checked_shape(name, asked(f"{name} for make dev")))
    report(f"{name} is set in {local_secrets.FILE}; `make dev` reads it within a minute.")


@app.command()
def rotate(
    context: typer.Context,
    name: Annotated[Name, typer.Argument(help="Which secret. Only the vendor can create a model's key.")],
    stage: StageName = None,
    cdk_json: CdkJson = CDK_JSON,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Replace a secret with a new random one, which is not shown."""
    with one_sentence():
        if name is Name.model_key:
            raise RequestError("Only the vendor can create a model key. Create one there, then use `secret set`.")
        settings = read_stage(cdk_json, stage)
        parameter = parameter_of(name, settings)
        if not yes:
            typer.confirm(f"End the session of every guest of stage {settings.name}?", abort=True, err=True)
        version = write(parameter, secrets.token_urlsafe(NEW_BYTES), settings, context.obj.endpoint_url)
    report(f"{parameter} is changed, version {version}. {WHEN[name]}")


WHEN_OF_TOOLS = "The function uses the new value within a minute."
WHEN: dict[str, str] = {
    Name.model_key: (
        "A function without a key reads it within 30 s; one with an older key uses that until the vendor refuses it."
    ),
    Name.guest_secret: "Tokens that the previous secret signed are refused within a minute.",
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
        raise RequestError("The input is not UTF-8 text. Nothing was stored.") from None


def checked_shape(name: str, value: str) -> str:
    """`value`, if it can be one. RequestError says why not, without quoting it."""
    if not value:
        raise RequestError("No value was entered. Nothing was stored.")
    if name in list(Name) and any(not "!" <= character <= "~" for character in value):
        raise RequestError(
            "The value has a space or a character that no key has. Nothing was stored. Did you paste more than the key?"
        )
    if not value.isprintable():  # an escape sequence of the terminal, or bytes that are not text
        raise RequestError("The value has a character that cannot be printed. Nothing was stored.")
    if len(value) > MAX_CHARS:
        raise RequestError(f"The value has {len(value)} characters; the limit is {MAX_CHARS}. Nothing was stored.")
    if name == Name.guest_secret and len(value) < MIN_GUEST_CHARS:
        raise RequestError(f"The value has {len(value)} characters; {MIN_GUEST_CHARS} are needed. Nothing was stored.")
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
            f"{base_url} refused this key. Nothing was stored. Does it belong to another vendor, or was it revoked? "
            "--unchecked stores it anyway."
        ) from None
    except openai.APIStatusError as error:
        return f"{base_url} answered {error.status_code} to a request for its models: the key could not be tested.", {}
    except openai.APIConnectionError:
        return f"{base_url} cannot be reached from here: the key could not be tested.", {}
    return f"{base_url} accepts the key.", dates


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
        raise UnavailableError(f"{parameter} was not stored: AWS answered {code}.") from None
    except BotoCoreError as error:
        raise UnavailableError(f"{parameter} was not stored: {str(error).rstrip('.')}.") from None
    return version
