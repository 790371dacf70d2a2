"""`make prove`: deploy a stage `proof` to real AWS, verify it, destroy it.

The command first shows the cost and asks for confirmation. It can be interrupted at any time: it then reports what is
left, and the next run continues from there. The rows become a file without account ids and addresses.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from infra.bundle.wheels import LAMBDA, for_this_interpreter
from infra.commands import local_cloud
from infra.commands.deploy import INTERRUPTED, NO_ROOM
from infra.commands.deploy_local import MACHINES
from infra.commands.deployment import Deployment
from infra.commands.local_cloud import LocalCloud
from infra.cost import prices
from infra.errors import ConfigError, InfraError, PreflightError
from infra.preflight.account import Account, has_room_for_cap, sign_in
from infra.proof import configurations as proof
from infra.proof.configurations import CONFIGURATIONS, STAGE, Configuration, Place, Row
from infra.proof.stage import ProofStage
from infra.stage.config import StageConfig, read_context

ROOT = Path(__file__).parents[2]
FOLDER = Path(".local/proof")
RESULTS = Path("docs/verified")
LEFT = (
    "Stage proof may still be in {place}. `make prove` continues where this run stopped; "
    "`make prove DESTROY=1` destroys the stage."
)
NOTHING_LEFT = "Nothing of stage proof is left in {place} except CDK's own bucket and roles (stack CDKToolkit)."


class Stage(Protocol):
    """The operations on the stage that this command needs; infra/proof/stage.py implements them."""

    def check(self, *, ours: bool) -> None: ...
    def build(self) -> Path: ...
    def resources(self, configuration: Configuration) -> list[dict[str, Any]]: ...
    def lacks(self, configuration: Configuration) -> list[str]: ...
    def prepare(self) -> None: ...
    def deploy(self, configuration: Configuration) -> str: ...
    def look(self, configuration: Configuration, url: str) -> list[Row]: ...
    def take_down(self) -> None: ...


@dataclass(slots=True)
class Progress:
    """What a run saves for the next one: where the stage is, and the rows of each finished configuration."""

    account: str
    region: str
    made: bool = False
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it to `folder`, before the step that it describes begins."""
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / "progress.json.new"
        written.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        written.replace(folder / "progress.json")


def progress_of(folder: Path, account: Account) -> Progress:
    """The progress of an earlier run, or a new one. PreflightError if that run used another account or region."""
    try:
        saved = Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Progress(account.account, account.region)
    if (saved.account, saved.region) != (account.account, account.region):
        raise PreflightError(
            [
                f"an earlier run created stage proof in account {saved.account}, region {saved.region}, and these "
                f"credentials are for {account}: use those of that run, or delete {folder} if its stage is gone."
            ]
        )
    return saved


def prove(
    stage: Stage, progress: Progress, configurations: Sequence[Configuration], *, folder: Path, skip: Sequence[str]
) -> list[Row]:
    """Fill the rows of each configuration that has none yet, in order. Leaves the stage deployed."""
    progress.made = True
    progress.save(folder)
    stage.prepare()
    for configuration in configurations:
        if configuration.name in progress.rows:
            continue
        if configuration.name in skip:
            rows = [proof.not_here(configuration, ["It was skipped."])]
        elif reasons := stage.lacks(configuration):
            rows = [proof.not_here(configuration, reasons)]
        else:
            print(f"{configuration.name}: deploying ...", flush=True)
            url = stage.deploy(configuration)
            print(f"{configuration.name}: verifying ...", flush=True)
            rows = stage.look(configuration, url)
        progress.rows[configuration.name] = rows
        progress.save(folder)
    return [row for configuration in configurations for row in progress.rows[configuration.name]]


def take_down(stage: Stage, progress: Progress, *, folder: Path) -> None:
    """Destroy the stage and delete the saved progress."""
    stage.take_down()
    progress.made = False
    progress.save(folder)
    (folder / "progress.json").unlink()


def write(rows: Sequence[Row], folder: Path, *, kind: str, region: str) -> Path:
    """Write the result, safe to share: `make verify` has already removed accounts and addresses from the rows."""
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    with (ROOT / "pyproject.toml").open("rb") as file:
        release = tomllib.load(file)["project"]["version"]
    document = {"kind": kind, "region": region, "when": when, "release": release, "rows": list(rows)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{when}-{kind.replace(' ', '-')}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def main(
    arguments: list[str],
    environ: Mapping[str, str],
    *,
    ask: Callable[[str], str] = input,
    account_of: Callable[[StageConfig, Mapping[str, str]], Account] = sign_in,
    make: Callable[..., Stage] = ProofStage,
) -> int:
    """Run the proof; with --destroy only destroy the stage. Returns the exit code: 1 if a row failed."""
    options = _parser().parse_args(arguments)
    cloud: LocalCloud | None = None
    run: Run | None = None
    # A closed terminal and a killed job end like Ctrl-C: with a message about what is left.
    before = {name: signal.signal(name, signal.default_int_handler) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if options.local:
            cloud = local_cloud.start(options.folder, environ=environ)
        run = _begin(options, environ, cloud, account_of=account_of, make=make)
        return run.go(options, ask)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except (InfraError, ClientError, BotoCoreError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if cloud is not None:
            local_cloud.stop(cloud)  # and with it the stage
        elif run is not None and run.progress.made:
            print(LEFT.format(place=run.account), file=sys.stderr)
        for name, handler in before.items():
            signal.signal(name, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make prove", description="Deploy, verify and destroy a stage on real AWS.")
    parser.add_argument("--region", help="the AWS region; default: that of AWS_REGION or your AWS profile")
    parser.add_argument("--email", help="the address that receives a test alarm; default: no test alarm")
    parser.add_argument("--subnets", nargs="+", default=[], help="private subnets: also prove Managed Instances")
    parser.add_argument("--security-groups", nargs="+", default=[], help="the security groups for those subnets")
    parser.add_argument("--skip", action="append", default=[], help="a configuration to leave out; may be repeated")
    parser.add_argument("--destroy", action="store_true", help="only destroy the stage that an earlier run left")
    parser.add_argument(
        "--local", action="store_true", help="use a local AWS, which supports fewer rows and needs no account"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"the folder for the progress of a run ({FOLDER})")
    parser.add_argument(
        "--out", type=Path, help=f"the folder for the result ({RESULTS}; with --local that of --folder)"
    )
    return parser


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command in one account and region."""

    account: Account
    stage: Stage
    progress: Progress
    configurations: Sequence[Configuration]

    def go(self, options: argparse.Namespace, ask: Callable[[str], str]) -> int:
        """Confirm, run the proof, write the result, destroy the stage. Returns the exit code."""
        if options.destroy:
            question = f"Stage proof in {self.account} will be destroyed."
        else:
            self.stage.check(ours=self.progress.made)
            question = self._question()
        print(question, flush=True)
        if not options.yes and _answer(ask) != STAGE:
            print("nothing was changed")
            return 1
        if options.destroy:
            take_down(self.stage, self.progress, folder=options.folder)
            print(NOTHING_LEFT.format(place=self.account))
            return 0
        self.stage.build()
        rows = prove(self.stage, self.progress, self.configurations, folder=options.folder, skip=options.skip)
        kind, out = ("local proof", options.folder) if options.local else ("proof", RESULTS)
        path = write(rows, options.out or out, kind=kind, region=self.account.region)
        print(f"The rows are in {path}, without accounts and addresses. Destroying stage proof ...", flush=True)
        take_down(self.stage, self.progress, folder=options.folder)
        print(NOTHING_LEFT.format(place=self.account))
        failed = [row["name"] for row in rows if row["outcome"] == "failed"]
        print(f"failed: {', '.join(failed)}" if failed else "nothing failed")
        return 1 if failed else 0

    def _question(self) -> str:
        """What will be done, where, and what it costs."""
        here = [configuration for configuration in self.configurations if not self.stage.lacks(configuration)]
        costs = proof.estimate(self.stage.resources(configuration) for configuration in here)
        names = ", ".join(configuration.name for configuration in here)
        return (
            f"Stage proof will be deployed to {self.account}, verified and destroyed. It is deployed in these "
            f"configurations, one after another: {names}.\nIt costs about ${costs.usd:.2f} if each configuration runs "
            f"for {proof.KEPT_H} hours, without free tiers. If the stage is left behind, it costs up to "
            f"${costs.usd_a_day:.2f} a day (prices of {prices.AS_OF}, us-east-1, infra/cost/prices.py).\n"
            "CDK's own bucket, with the zip in it, and CDK's roles stay in the account."
        )


def _answer(ask: Callable[[str], str]) -> str:
    try:
        return ask("Type proof to continue: ").strip()
    except EOFError:  # no terminal
        return ""


def _begin(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    cloud: LocalCloud | None,
    *,
    account_of: Callable[[StageConfig, Mapping[str, str]], Account],
    make: Callable[..., Stage],
) -> Run:
    """Sign in, and load the progress of an earlier run. PreflightError or ConfigError if the run cannot begin."""
    flags = read_context(Path("cdk.json"))
    if STAGE in flags.get("stages", {}):
        raise ConfigError([f"cdk.json has a stage {STAGE}, which `make prove` would destroy: rename it."])
    configurations = [*CONFIGURATIONS]
    if options.subnets:
        configurations.append(proof.managed(options.subnets, options.security_groups))
    unknown = [name for name in options.skip if name not in {configuration.name for configuration in configurations}]
    if unknown:
        names = ", ".join(configuration.name for configuration in configurations)
        raise PreflightError([f"SKIP={unknown[0]} is not a configuration. The configurations are {names}."])
    wanted = StageConfig.from_context(
        proof.context(flags, configurations[0], Place(account=None, region=options.region))
    )
    if cloud is None:
        account, variables = account_of(wanted, environ), dict(environ)
        place = Place(account=account.account, region=account.region, alarm_email=options.email)
        config = StageConfig.from_context(proof.context(flags, configurations[0], place))
        if not has_room_for_cap(config, account):
            print(NO_ROOM.format(stage=STAGE), flush=True)
            place = replace(place, uncapped=True)
    else:
        account, variables = cloud.account(), cloud.environ(environ)
        machine = MACHINES.get(platform.machine().lower(), "x86_64")
        place = Place(account=None, region=account.region, architecture=machine, alarm_email=options.email)
        (options.folder / "progress.json").unlink(missing_ok=True)  # of a local AWS that is gone
    variables |= {"AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region}
    stage = make(
        account=account,
        place=place,
        flags=flags,
        deployment=Deployment(account, folder=options.folder, environ=variables),
        environ=variables,
        target=for_this_interpreter() if cloud else LAMBDA[place.architecture],
        local_url=cloud.local_url if cloud else None,
    )
    return Run(account, stage, progress_of(options.folder, account), configurations)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
