"""Agreement between infra/ and lambda_src/ on environment variables, keys, limits and names; neither imports the other.

Infra's side is read from the committed template, which tests/infra/commands/test_template.py keeps current.
"""

import ast
import json
import os
import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from fastapi import FastAPI

from infra.commands import local_cloud
from infra.ingress import front_door, origin_secrets
from infra.ingress.cloudfront import STATIC_FILES
from infra.stage import environment, parsers
from infra.stage.config import StageConfig
from infra.stage.schema import TIMEOUT_S
from infra.stage.sections import PageConfig
from lambda_src.chat.scheduled_events import Events
from lambda_src.cli.stage import read_stage
from lambda_src.dev import local_aws
from lambda_src.http import edge
from lambda_src.http.app import serve
from lambda_src.http.page import Page
from lambda_src.json_settings import OperatorSettings, PageSettings
from lambda_src.languages import Languages
from lambda_src.runs import assistants
from lambda_src.runs.run_events import RUN_STOPS_WITHIN_S
from lambda_src.settings import PREFIX, Settings
from lambda_src.store import keys
from lambda_src.store.bounds import LATE_WRITES_S, LONGEST_INVOCATION_S
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.quota_windows import RUNNING_MAX_MS
from lambda_src.turns.duplicates import BOUND_S
from lambda_src.turns.turn_task import CLOSING_TIME_MS
from tests.agreements.deployed import Properties, resources

ROOT = Path(__file__).parents[2]
TASK_ROOT = "/var/task"


@pytest.fixture(scope="module")
def function() -> Properties:
    """The only function in the template."""
    [function] = resources("AWS::Lambda::Function")
    return function


@pytest.fixture(scope="module")
def variables(function: Properties) -> dict[str, Any]:
    """The function's environment; values that CloudFormation fills in are dicts."""
    variables: dict[str, Any] = function["Environment"]["Variables"]
    return variables


@pytest.fixture(scope="module")
def table() -> Properties:
    """The only table in the template."""
    [table] = resources("AWS::DynamoDB::GlobalTable")
    return table


# The environment


def test_every_variable_that_is_set_is_a_setting_or_the_wrapper(variables: dict[str, Any]) -> None:
    settings = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    assert variables.keys() - settings == {"AWS_LAMBDA_EXEC_WRAPPER"}


def test_the_settings_can_be_read_from_the_deployed_environment(variables: dict[str, Any]) -> None:
    env = {name: value if isinstance(value, str) else "filled-in" for name, value in variables.items()}
    settings = Settings.from_env(env)  # raises for what is missing or unknown
    assert (settings.table, settings.bucket, settings.store) == ("filled-in", "filled-in", "dynamodb")


def test_cloudformation_fills_in_only_the_table_and_the_bucket(variables: dict[str, Any]) -> None:
    filled_in = {name for name, value in variables.items() if not isinstance(value, str)}
    assert filled_in == {"CHAT_TABLE", "CHAT_BUCKET"}


EVERY_OPTION: list[dict[str, Any]] = [
    {"models": ["a"], "quotas": {"stage_tokens_per_day": 1}, "thread_retention_days": 1, "model_key_parameter": "/key"},
    {"auth": {"guest": {"messages_per_day": 1}}, "quotas": {"stage_tokens_per_day": 1}},
    {"claims": ["plan", "org"]},
    {"operators": {"claim": "groups", "value": "support", "assistants": ["", "sales"]}},
    {"operators": {"claim": "groups", "value": "support"}},
    {"front_door": "cloudfront"},
    {"front_door": "cloudfront-signed"},
    {"front_door": "apigw", "cors_origins": ["https://www.example.org"]},
    {"front_door": "url", "cors_origins": ["https://www.example.org"]},
]


@pytest.mark.parametrize("options", EVERY_OPTION, ids=str)
def test_every_stage_option_becomes_known_settings(options: dict[str, Any]) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": auth, **options}}})
    variables = environment.variables(
        config,
        environment.ResourceNames(table="t", bucket="b", origin_secrets=("arn:1",), events_topic="arn:2"),
    )
    settings = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    assert variables.keys() - settings == {"AWS_LAMBDA_EXEC_WRAPPER"}


def test_the_page_has_the_same_defaults_in_the_stage_and_in_the_function() -> None:
    assert asdict(PageConfig()) == asdict(PageSettings())


@pytest.mark.parametrize(
    "options",
    [
        {"claim": "groups", "value": "support"},
        {"claim": "cognito:groups", "value": "Support team", "assistants": ["", "sales"]},
        {"claim": "groups", "value": "support", "handoff_wait_minutes": 30, "unanswered_message": "We call you back."},
    ],
)
def test_the_function_reads_the_operators_that_the_stage_names(options: dict[str, Any]) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": auth, "operators": options}}})
    variables = environment.variables(config, environment.ResourceNames(table="t", bucket="b"))
    read = Settings.from_env({**variables, "CHAT_AUTH_ISSUER": "https://login.example.org/", "CHAT_AUTH_AUDIENCE": "c"})
    assert config.operators is not None
    assert read.operators == OperatorSettings(**asdict(config.operators))


def test_a_stage_may_offer_the_languages_that_the_function_has() -> None:
    languages = Languages().codes
    assert PageConfig(languages=tuple(map(parsers.language, languages))).languages == languages


def test_the_function_takes_the_assistants_of_a_stages_page() -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    prompt = {"label": "Prices", "prompt": "What does it cost?"}
    offered = [{"name": "", "label": "Help"}, {"name": "sales", "label": "Sales", "prompts": [prompt]}]
    config = StageConfig.from_context(
        {"stage": "dev", "stages": {"dev": {"auth": auth, "page": {"assistants": offered}}}}
    )
    variables = environment.variables(config, environment.ResourceNames(table="t", bucket="b"))
    read = Settings.from_env(
        {**variables, "CHAT_AUTH_ISSUER": "https://login.example.org/", "CHAT_AUTH_AUDIENCE": "c"}
    ).page.assistants
    assert [(each["name"], each["label"], each["prompts"]) for each in read] == [
        ("", "Help", None),
        ("sales", "Sales", [prompt]),
    ]


def test_an_assistant_may_have_the_same_names_in_a_stages_page_and_in_the_code() -> None:
    assert (assistants.NAME.pattern, assistants.TAKEN) == (parsers.ASSISTANT, parsers.ROUTES)


@pytest.mark.parametrize("entry", [{"guest": {}}, {"issuer": "https://login.example.org/", "audience": "chat"}])
@pytest.mark.parametrize("options", [{}, {"model_key_parameter": "/mine/key"}])
def test_the_command_line_writes_secrets_where_the_function_reads_them(
    entry: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": entry, "quotas": {"stage_tokens_per_day": 1}, **options}}}
    cdk_json = tmp_path / "cdk.json"
    cdk_json.write_text(json.dumps({"context": context}), encoding="utf-8")
    written, read = read_stage(cdk_json, None), StageConfig.from_context(context)
    assert (written.model_key, written.guest_secret) == (read.model_key_name, read.guest_secret_name)


def test_the_shortest_timeout_leaves_an_interrupted_turn_time_to_close() -> None:
    assert TIMEOUT_S[0] > RUN_STOPS_WITHIN_S + CLOSING_TIME_MS / 1000


def test_cors_allows_the_same_headers_whether_aws_or_the_function_answers() -> None:
    assert tuple(front_door.REQUEST_HEADERS) == edge.REQUEST_HEADERS
    assert tuple(front_door.RESPONSE_HEADERS) == edge.RESPONSE_HEADERS


def test_cloudfront_sends_the_origin_secret_in_the_header_that_the_function_checks() -> None:
    assert origin_secrets.HEADER == edge.ORIGIN_HEADER


# The clock


def test_cloudfront_caches_only_the_pages_hashed_files() -> None:
    app = FastAPI()
    serve(app, Page(config={}))
    assert app.url_path_for("static", name="*") == f"/{STATIC_FILES}"


async def test_the_function_handles_the_hourly_event() -> None:
    [rule] = resources("AWS::Events::Rule")
    [target] = rule["Targets"]
    assert (rule["ScheduleExpression"], json.loads(target["Input"])) == ("rate(1 hour)", {"chat": "sweep"})
    swept = await Events(MemoryStore())(json.loads(target["Input"]), Hours())
    assert swept == {"swept": 0, "orphans": 0, "moved": 0}


async def test_the_function_handles_the_event_of_every_minute_in_a_stage_with_operators() -> None:
    template = json.loads((ROOT / "tests/infra/snapshots/full.json").read_text(encoding="utf-8"))
    rules = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Events::Rule"]
    [target] = [rule["Targets"][0] for rule in rules if rule["ScheduleExpression"] == "rate(1 minute)"]
    assert await Events(MemoryStore())(json.loads(target["Input"]), Hours()) == {"looked_at": 0}


class Hours:
    """A Lambda context with plenty of time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 3_600_000


# The table and the bucket


def test_the_table_has_the_keys_and_the_index_that_the_store_uses(table: Properties) -> None:
    expected = keys.table_definition("any")
    assert table["KeySchema"] == expected["KeySchema"]
    assert table["LocalSecondaryIndexes"] == expected["LocalSecondaryIndexes"]
    assert sorted(table["AttributeDefinitions"], key=str) == sorted(expected["AttributeDefinitions"], key=str)
    [index] = table["LocalSecondaryIndexes"]
    assert (index["IndexName"], index["KeySchema"][1]["AttributeName"]) == (keys.ORDER_INDEX, keys.ORDER_KEY)


def test_rows_expire_by_the_attribute_that_the_store_sets(table: Properties) -> None:
    assert table["TimeToLiveSpecification"] == {"AttributeName": keys.TTL_ATTRIBUTE, "Enabled": True}


def test_uploads_expire_under_the_prefix_where_the_store_looks_for_them() -> None:
    [bucket] = resources("AWS::S3::Bucket")
    assert [rule["Prefix"] for rule in bucket["LifecycleConfiguration"]["Rules"]] == [keys.PENDING_PREFIX]


# The function


def test_the_handler_exists(function: Properties) -> None:
    module, _, name = function["Handler"].rpartition(".")
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))
    assigned = [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    assert name in assigned


def test_the_wrapper_exists_and_can_be_executed(variables: dict[str, Any]) -> None:
    wrapper = ROOT / Path(variables["AWS_LAMBDA_EXEC_WRAPPER"]).relative_to(TASK_ROOT)
    assert os.access(wrapper, os.X_OK)


def test_an_interrupted_turn_has_time_to_close(function: Properties) -> None:
    assert function["Timeout"] > RUN_STOPS_WITHIN_S + CLOSING_TIME_MS / 1000


def test_the_function_url_streams_as_the_runtime_does() -> None:
    assert [url["InvokeMode"] for url in resources("AWS::Lambda::Url")] == ["RESPONSE_STREAM"]


def test_ministack_has_its_own_environment_and_pins_none_of_our_packages() -> None:
    assert local_aws.PYTHON == local_cloud.PYTHON
    assert local_cloud.PYTHON.is_file(), "make setup installs it"
    assert find_spec("ministack") is None
    assert '"ministack"' not in (ROOT / "uv.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["audit", "ministack", "uv"])
def test_packages_installed_outside_uv_lock_are_pinned_by_hash(name: str) -> None:
    locked = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"^(?=\S)", locked, flags=re.MULTILINE) if entry]
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    requirements = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8")
    exact = re.findall(r"^[\w-]+==[\w.]+", requirements, flags=re.MULTILINE)
    assert [pin for pin in exact if f"{pin} \\" not in locked] == []


def test_the_store_expects_the_longest_timeout_a_stage_can_have() -> None:
    assert TIMEOUT_S[1] == LONGEST_INVOCATION_S
    assert (LATE_WRITES_S, RUNNING_MAX_MS, BOUND_S) == (
        LONGEST_INVOCATION_S,
        LONGEST_INVOCATION_S * 1000,
        LONGEST_INVOCATION_S + 60,
    )
    page = (ROOT / "docs" / "explanation" / "turns.md").read_text(encoding="utf-8")
    minutes = {int(number) for number in re.findall(r"(\d+) minutes", page)}
    assert BOUND_S // 60 in minutes
    assert minutes <= {BOUND_S // 60, LONGEST_INVOCATION_S // 60}


def test_lambda_accepts_the_longest_timeout_a_stage_can_have() -> None:
    """The newest botocore model states how long a function may run."""
    model = botocore.session.get_session().get_service_model("lambda")
    assert model.shape_for("Timeout").metadata["max"] >= LONGEST_INVOCATION_S
