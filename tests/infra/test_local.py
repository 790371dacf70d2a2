"""infra/local.py and infra/ministack.py: what differs on a laptop is the processors, and nothing reaches AWS.

The deployment itself is in test_offline_deploy.py.
"""

from typing import Any

from infra.config import StageConfig
from infra.local import for_this_machine
from infra.ministack import LocalCloud

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}


def _config(context: dict[str, Any]) -> StageConfig:
    return StageConfig.from_context(context)


def test_a_stage_is_deployed_as_it_is_but_for_the_processors_and_the_account() -> None:
    stages = {"dev": {"auth": AUTH, "memory_mb": 2048, "account": "123456789012", "region": "eu-central-1"}}
    context = {"stage": "dev", "stages": stages}
    here = _config(for_this_machine(context))
    assert (here.account, here.region, here.memory_mb) == (None, None, 2048)
    assert here.architecture in ("arm64", "x86_64")
    assert _config(context).account == "123456789012", "the context itself stays as it was"


def test_no_credentials_of_a_person_reach_the_local_aws() -> None:
    told = LocalCloud(4566, 0).environ({"PATH": "/bin", "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "real"})
    assert "AWS_PROFILE" not in told
    assert "AWS_SESSION_TOKEN" not in told
    assert told["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert told["PATH"] == "/bin"


def test_a_function_url_has_a_place_on_this_machine() -> None:
    url = LocalCloud(4566, 0).local_url("https://abc123.lambda-url.us-east-1.on.aws/")
    assert url == "http://127.0.0.1:4566/_aws/lambda-url/abc123/"
