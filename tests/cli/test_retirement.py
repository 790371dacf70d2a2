"""lambda_src/cli/retirement.py: warnings about the models of a stage that their vendor is about to shut down."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from agents import Agent, handoff
from moto import mock_aws
from typer.testing import CliRunner, Result

from lambda_src.cli import retirement
from lambda_src.cli.commands import app
from lambda_src.cli.stage import Stage, read_stage
from lambda_src.dev.verify import answers
from lambda_src.dev.verify.deployment import Deployment
from lambda_src.dev.verify.row import Outcome
from lambda_src.errors import UnavailableError
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.assistants import Assistant, Assistants
from tests.fakes.secret_apis import models_api, ssm_with

KEY = "sk-test"
TODAY = date(2026, 11, 28)
STAGE = Stage(name="dev", account=None, region="us-east-1", model_key="/key", guest_secret=None, model_base_url=None)


def model(name: str, shutdown_date: object = None) -> dict[str, Any]:
    """A model in the vendor's list."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "vendor", "shutdown_date": shutdown_date}


def stage_of(tmp_path: Path, **entry: Any) -> Stage:
    """The stage that a cdk.json with this entry describes."""
    cdk_json = tmp_path / "cdk.json"
    cdk_json.write_text(json.dumps({"context": {"stage": "dev", "stages": {"dev": {"auth": {"guest": {}}, **entry}}}}))
    return read_stage(cdk_json, None)


def assistants(*agents: Agent[Any], **named: Assistant) -> Assistants:
    """Assistants by name; the first agent belongs to the default assistant, whose name is empty."""
    return {"": Assistant(lambda: agents[0]), **named}


def test_the_models_of_an_agent_include_those_of_its_handoffs(tmp_path: Path) -> None:
    last = Agent[Any](name="Last", model="c")
    billing = Agent[Any](name="Billing", model="b", handoffs=[handoff(last)])
    own = Agent[Any](name="Own", model=DemoModel(sleep=lambda _: None))  # type: ignore[arg-type, return-value] # unused
    first = Agent[Any](name="First", model="a", handoffs=[billing, own])
    assert retirement.models_of(stage_of(tmp_path), assistants(first)) == {"a", "b", "c"}


def test_the_models_of_a_stage_replace_those_of_its_agents(tmp_path: Path) -> None:
    sales = Assistant(lambda: Agent[Any](name="Sales", model="unused"), models=["z"])
    stage = stage_of(tmp_path, models=["x", "y"])
    assert retirement.models_of(stage, assistants(Agent(name="A", model="a"), sales=sales)) == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"a"}),
        ({"dictation_model": "ears"}, {"a", "ears"}),
    ],
)
def test_the_dictation_model_is_included_if_dictation_is_on(
    settings: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    stage = stage_of(tmp_path, settings=settings)
    assert retirement.models_of(stage, assistants(Agent(name="A", model="a"))) == expected


@pytest.mark.parametrize(
    ("days", "warned", "too_late"),
    [(91, False, False), (90, True, False), (8, True, False), (7, True, True), (0, True, True), (-3, True, True)],
)
def test_warnings_start_90_days_before_a_shutdown_and_refusals_7_days_before(
    days: int, warned: bool, too_late: bool
) -> None:
    day = TODAY + timedelta(days=days)
    with models_api(good=KEY, listed=[model("a", day.isoformat()), model("other", TODAY.isoformat())]) as url:
        dates = retirement.shutdown_dates(KEY, url)
    warnings = retirement.retiring(STAGE, dates, today=TODAY, load=lambda: assistants(Agent(name="A", model="a")))
    assert [warning.model for warning in warnings] == (["a"] if warned else [])
    assert any(warning.too_late for warning in warnings) is too_late
    assert all(str(day) in str(warning) and "docs/how-to/models.md" in str(warning) for warning in warnings)


@pytest.mark.parametrize(
    "listed",
    [
        [],
        None,
        "models",
        [None, 1, "a"],
        [{"id": "a"}],
        [model("a", None), model("a", ""), model("a", 20261211), model("a", "soon"), model("a", {"day": 1})],
    ],
    ids=str,
)
def test_without_a_shutdown_date_from_the_vendor_there_is_no_warning(listed: object) -> None:
    with models_api(good=KEY, listed=listed) as url:
        assert retirement.shutdown_dates(KEY, url) == {}


def test_agents_are_not_built_if_the_vendor_sends_no_dates() -> None:
    def broken() -> Assistants:
        raise KeyError("MY_SECRET")

    assert retirement.retiring(STAGE, {}, today=TODAY, load=broken) == []
    with pytest.raises(UnavailableError, match="cannot be built here"):
        retirement.retiring(STAGE, {"a": TODAY}, today=TODAY, load=broken)


Chat = Callable[..., Result]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    """Runs `chat` for a stage that uses the model `mine`, which its vendor shuts down in `days` days."""

    def run(*arguments: str, days: int | None, key: str = KEY, typed: str = "") -> Result:
        day = None if days is None else (retirement.today() + timedelta(days=days)).isoformat()
        with models_api(good=KEY, listed=[model("mine", day)]) as url, ssm_with({"/chatkit/dev/model-key": key}) as ssm:
            stage_of(tmp_path, models=["mine"], settings={"model_base_url": url})
            place = ["--cdk-json", str(tmp_path / "cdk.json"), "--stage", "dev"]
            return CliRunner().invoke(app, ["--endpoint-url", ssm, *arguments, *place], input=typed)

    return run


@pytest.mark.parametrize(
    ("days", "new", "code"), [(50, True, 0), (3, True, 1), (3, False, 0), (None, True, 0), (200, True, 0)]
)
def test_a_new_stage_is_refused_in_the_last_week_and_existing_stages_are_warned(
    chat: Chat, days: int | None, new: bool, code: int
) -> None:
    result = chat("models", *(["--new"] if new else []), days=days)
    assert result.exit_code == code
    assert result.stdout == "mine\n"
    assert ("shuts down the model mine" in result.stderr) is (days in (50, 3))


def test_a_key_that_cannot_list_models_does_not_stop_a_deployment(chat: Chat) -> None:
    result = chat("models", "--new", days=3, key="withdrawn")
    assert result.exit_code == 0
    assert "AuthenticationError" in result.stderr
    assert "was not checked" in result.stderr
    assert "withdrawn" not in result.output


def test_setting_a_key_prints_the_warning_and_still_writes_the_key(tmp_path: Path) -> None:
    day = (retirement.today() + timedelta(days=30)).isoformat()
    with mock_aws(), models_api(good=KEY, listed=[model("mine", day)]) as url:
        stage_of(tmp_path, models=["mine"], settings={"model_base_url": url})
        argv = ["secret", "set", "model-key", "--cdk-json", str(tmp_path / "cdk.json")]
        result = CliRunner().invoke(app, argv, input=KEY)
        stored = boto3.client("ssm").get_parameter(Name="/chatkit/dev/model-key", WithDecryption=True)
    assert (result.exit_code, stored["Parameter"]["Value"]) == (0, KEY)
    assert f"warning: The vendor shuts down the model mine on {day}" in result.stderr


def test_make_verify_reports_the_models_of_a_named_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    without_stage = Deployment("http://chat.test/", httpx2.AsyncClient(), {})
    assert asyncio.run(answers.models(without_stage)).outcome is Outcome.NOT_SEEN
    day = (retirement.today() + timedelta(days=30)).isoformat()
    with models_api(good=KEY, listed=[model("mine", day)]) as url, ssm_with({"/chatkit/dev/model-key": KEY}) as ssm:
        monkeypatch.setenv("AWS_ENDPOINT_URL", ssm)
        stage_of(tmp_path, models=["mine"], settings={"model_base_url": url})
        soon = asyncio.run(answers.models(replace(without_stage, stage="dev")))
        stage_of(tmp_path, models=["other"], settings={"model_base_url": url})
        assert asyncio.run(answers.models(replace(without_stage, stage="dev"))).outcome is Outcome.OK
    assert (soon.outcome, day in soon.what) == (Outcome.SEEN, True)
    assert asyncio.run(answers.models(replace(without_stage, stage="missing"))).outcome is Outcome.NOT_SEEN
