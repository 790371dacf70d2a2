"""lambda_src/runtime/environment.py: environment variables of the runtime, with all errors in one message."""

import pytest

from lambda_src.runtime.environment import Environment, check_switches
from lambda_src.runtime.errors import HandlerError

REQUIRED = {"AWS_LAMBDA_RUNTIME_API": "h:1", "_HANDLER": "a.b"}


def test_only_the_api_address_and_the_handler_are_required() -> None:
    environment = Environment.from_env(REQUIRED)
    assert (environment.api, environment.handler, environment.concurrency) == ("h:1", "a.b", 1)


def test_missing_variables_are_named_in_one_sentence() -> None:
    with pytest.raises(HandlerError, match="AWS_LAMBDA_RUNTIME_API and _HANDLER missing"):
        Environment.from_env({"_HANDLER": ""})


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("AWS_LAMBDA_MAX_CONCURRENCY", "16", "concurrency", 16),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "many", "concurrency", 1),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start", "snapstart", True),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand", "snapstart", False),
        ("AWS_LAMBDA_LOG_FORMAT", "json", "log_format", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("_LAMBDA_TELEMETRY_LOG_FD", "3", "telemetry_fd", 3),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512", "memory_mb", 512),
        ("CHAT_RUNTIME_SHOW_ERRORS", "on", "show_errors", True),
        ("CHAT_RUNTIME_SHOW_ERRORS", "0", "show_errors", False),
    ],
)
def test_each_variable_sets_its_field(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(Environment.from_env({**REQUIRED, name: value}), field) == expected


@pytest.mark.parametrize("value", ["1", "true", "ON", "0", "False", "off"])
def test_a_switch_is_on_or_off(value: str) -> None:
    check_switches({**REQUIRED, "CHAT_RUNTIME_SHOW_ERRORS": value, "CHAT_TABLE": "t"})


def test_invalid_switches_are_reported_in_one_message() -> None:
    with pytest.raises(HandlerError) as refusal:
        check_switches({"CHAT_RUNTIME_SIGTRM": "1", "CHAT_RUNTIME_SHOW_ERRORS": "no"})
    assert str(refusal.value) == (
        "CHAT_RUNTIME_SHOW_ERRORS must be one of 1, true, on, 0, false, off, and is 'no'. "
        "CHAT_RUNTIME_SIGTRM is not a switch of the runtime; its only switch is CHAT_RUNTIME_SHOW_ERRORS."
    )
