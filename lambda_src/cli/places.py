"""Finds the data of a stage (from the outputs of its CloudFormation stack) and of a running `make dev`."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lambda_src.cli.options import LOCAL_AWS, Place
from lambda_src.errors import RequestError, SettingsError

StageName = Annotated[str | None, typer.Option("--stage", help="Use the table and bucket of this stage of cdk.json.")]
IsLocal = Annotated[bool, typer.Option("--local", help="Use the data of the `make dev` that is running.")]

NOT_RUNNING = "`make dev` is not running here: start it in another terminal, then try again."


def placed(place: Place, *, stage: str | None, local: bool, cdk_json: Path) -> Place:
    """`place`, completed by --stage or --local. RequestError, SettingsError: why the data cannot be found."""
    if stage is None and not local:
        return place
    if stage is not None and local:
        raise RequestError("Use either --stage or --local.")
    option = "--local" if local else "--stage"
    if place.store != "dynamodb":
        raise RequestError(f"{option} finds DynamoDB tables; leave it out for PostgreSQL (--store, CHAT_STORE).")
    if place.table is not None:
        raise RequestError(f"The table is named twice: leave out {option}, or --table (CHAT_TABLE).")
    return _of_make_dev(place, LOCAL_AWS) if stage is None else _of_stage(place, stage, cdk_json)


def _of_make_dev(place: Place, file: Path) -> Place:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        os.kill(settings["pid"], 0)
        return replace(
            place,
            table=settings["table"],
            bucket=settings["bucket"],
            endpoint_url=settings["endpoint_url"],
            region=settings["region"],
            key=(settings["access_key_id"], settings["secret_access_key"]),
        )
    except (FileNotFoundError, ProcessLookupError):
        raise RequestError(NOT_RUNNING) from None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RequestError(f"{file} cannot be read ({type(fault).__name__}). Restart `make dev`.") from None


def _of_stage(place: Place, name: str, cdk_json: Path) -> Place:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - a second that no other command needs

    from lambda_src.cli.stage import read_stage, session_for  # noqa: PLC0415 - as above

    stage = read_stage(cdk_json, name)
    session = session_for(stage, place.endpoint_url)
    cloudformation: Any = session.client("cloudformation", endpoint_url=place.endpoint_url)
    try:
        [stack] = cloudformation.describe_stacks(StackName=stage.data_stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise RequestError(
            f"Stage {name} is not deployed in {session.region_name}: there is no stack {stage.data_stack}. "
            f"Check `region` in {cdk_json} and your AWS profile, or run `make deploy STAGE={name}`."
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if not outputs.keys() >= {"Table", "Bucket"}:
        raise SettingsError([f"stack {stage.data_stack} has no outputs Table and Bucket: deploy the stage again."])
    return replace(place, table=outputs["Table"], bucket=outputs["Bucket"], region=session.region_name)
