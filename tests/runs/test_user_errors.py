"""Error messages for users when a run fails: one per kind of failure, never quoting the exception."""

import importlib
import logging
from pathlib import Path

import httpx2
import openai
import pytest
from agents.exceptions import InputGuardrailTripwireTriggered, MaxTurnsExceeded, UserError
from chatkit.errors import CustomStreamError, StreamError

from lambda_src.errors import UnavailableError
from lambda_src.languages import ENGLISH
from lambda_src.runs.user_errors import stream_error

REQUEST = httpx2.Request("POST", "https://model.test/")
SECRET = "marker-7d1f"


def api(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    return kind(SECRET, response=httpx2.Response(status, request=REQUEST), body={"message": SECRET})


@pytest.mark.parametrize(
    ("error", "words", "retry"),
    [
        (api(openai.RateLimitError, 429), "busy", True),
        (api(openai.AuthenticationError, 401), "key", False),
        (api(openai.PermissionDeniedError, 403), "key", False),
        (api(openai.InternalServerError, 500), "reached", True),
        (api(openai.BadRequestError, 400), "new thread", False),
        (openai.APITimeoutError(request=REQUEST), "in time", True),
        (openai.APIConnectionError(request=REQUEST), "reached", True),
        (MaxTurnsExceeded(SECRET), "steps", False),
        (InputGuardrailTripwireTriggered.__new__(InputGuardrailTripwireTriggered), "cannot help", False),
        (UserError(SECRET), "not set up", False),
        (UnavailableError("The store does not answer. Try again."), "store", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_failure_has_its_message(error: Exception, words: str, retry: bool) -> None:
    shown_error = stream_error(error, language=ENGLISH)
    assert isinstance(shown_error, CustomStreamError)
    assert words in shown_error.message
    assert SECRET not in shown_error.message
    assert shown_error.allow_retry is retry


def test_an_unexpected_error_gets_chatkits_default_message() -> None:
    assert isinstance(stream_error(ZeroDivisionError(SECRET), language=ENGLISH), StreamError)


def test_a_stream_error_is_passed_on_unchanged() -> None:
    error = CustomStreamError("Sold out.")
    assert stream_error(error, language=ENGLISH) is error


def test_the_log_contains_type_and_location_of_an_error_but_not_its_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lambda_src.runs.user_errors")
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        stream_error(error, language=ENGLISH)
    (record,) = caplog.records
    assert vars(record)["error_type"] == "KeyError"
    assert "test_user_errors.py" in vars(record)["place"]
    assert SECRET not in str(vars(record))


def test_the_location_of_an_import_error_is_in_the_users_file_not_in_importlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "unreadable_agent.py").write_text("x = 1\ndef broken(:\n")
    (tmp_path / "lost_agent.py").write_text("\nimport no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in (("unreadable_agent", 2), ("lost_agent", 2)):
        with pytest.raises((SyntaxError, ImportError)) as raised:
            importlib.import_module(name)
        stream_error(raised.value, language=ENGLISH)
        assert vars(caplog.records[-1])["place"] == f"{tmp_path / name}.py:{line}"
