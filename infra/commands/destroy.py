"""`make destroy`: delete the API of a stage, with `--data` its data stack too, and list what remains.

Outside stage dev the data outlives its stack, even with `--data`: threads are deleted by separate commands. Imports the
AWS SDK, which takes a third of a second, only after the arguments and cdk.json have been checked.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import reports_errors
from infra.stacks.names import api_stack_name, data_stack_name, edge_stack_name
from infra.stage.config import EDGE_REGION, StageConfig, read_context

if TYPE_CHECKING:
    from infra.preflight.account import Account

PATIENCE = {"Delay": 5, "MaxAttempts": 720}  # an hour: CloudFront distributions are slow


def stacks_to_delete(config: StageConfig, *, data: bool) -> list[str]:
    """The stacks in the order of deletion: a stack comes before those that it uses."""
    edge = [edge_stack_name(config.stage)] if config.needs_edge else []
    return [api_stack_name(config.stage), *edge, *([data_stack_name(config.stage)] if data else [])]


def remaining_resources(config: StageConfig, *, data: bool) -> list[str]:
    """One line for each thing that remains afterwards, with the command that deletes it."""
    name = data_stack_name(config.stage)
    lines = []
    if not data:
        lines.append(f"stack {name} with every thread and file: make destroy STAGE={config.stage} DATA=1")
    if not config.disposable:
        if data:
            lines += [
                "the table, which refuses to be deleted: aws dynamodb update-table --table-name TABLE "
                "--no-deletion-protection-enabled, then aws dynamodb delete-table --table-name TABLE",
                "the bucket: aws s3 rb s3://BUCKET --force",
            ]
            if config.auth.cognito is not None:
                lines.append("the users: aws cognito-idp delete-user-pool --user-pool-id POOL, without its protection")
            if config.kms == "cmk":
                lines.append(
                    "the key, $1 a month: aws kms schedule-key-deletion --key-id KEY; nothing is readable then"
                )
        lines.append("the log: aws logs delete-log-group --log-group-name LOGS; its lines expire anyway")
    own = {f"your secret {name}": kept for name, kept in zip(config.secrets, config.secret_parameters, strict=True)}
    secrets = {"the model's key": config.model_key_name, "the guests' secret": config.guest_secret_name, **own}
    for what, kept in secrets.items():
        if kept is not None:
            lines.append(f"{what}, if it was set: aws ssm delete-parameter --name {kept}")
    lines.append("CDK's own bucket and roles, which other apps may use: stack CDKToolkit")
    return lines


@reports_errors
def main(arguments: list[str]) -> int:
    """Delete the stacks of a stage. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.commands.destroy", description="Delete a stage.")
    parser.add_argument("--stage", required=True, help="a stage in cdk.json; never guessed")
    parser.add_argument("--data", action="store_true", help="its data stack too; stage dev loses its threads")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    config = StageConfig.from_context(read_context(Path("cdk.json")) | {"stage": options.stage})
    from botocore.exceptions import ClientError, WaiterError

    from infra.preflight.account import sign_in

    try:
        account = sign_in(config)
        if not options.yes and not _confirmed(config, account, data=options.data):
            print("nothing was deleted")
            return 1
        for name in stacks_to_delete(config, data=options.data):
            delete_stack(name, account, region=EDGE_REGION if name.endswith("-edge") else account.region)
    except (ClientError, WaiterError) as error:  # the text of AWS names the stack and the reason
        print(error, file=sys.stderr)
        return 1
    print("What stays:")
    for line in remaining_resources(config, data=options.data):
        print(f"  {line}")
    return 0


def _confirmed(config: StageConfig, account: "Account", *, data: bool) -> bool:
    print(f"stage {config.stage}, {account}: {', '.join(stacks_to_delete(config, data=data))} will be deleted.")
    if data and config.disposable:
        print("Its threads go with it. A bucket with files in it stays: aws s3 rm s3://BUCKET --recursive, first.")
    return input("Type the name of the stage to continue: ").strip() == config.stage


def delete_stack(name: str, account: "Account", *, region: str) -> None:
    """Delete one stack and wait until it is gone; WaiterError if CloudFormation cannot delete it."""
    cloudformation = account.clients("cloudformation", region)
    print(f"deleting {name} ...", flush=True)
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=PATIENCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
