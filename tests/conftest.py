"""Pytest setup for all tests: assertion rewriting, long timeouts, and failures for leaked content or agent access.

Also fixtures for several folders. They import what they need, which most tests do without.
"""

import asyncio
import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambda_src.runs import tool_secrets
from tests import content_markers
from tests.agent_tests import AGENT_TESTS, TESTS, watching
from tests.once import first_alone

if TYPE_CHECKING:
    from tests.apps.full import FullApp
    from tests.store.tables import Aws

pytest.register_assert_rewrite("lambda_src.dev.store_contract")


TOUCHED = pytest.StashKey[list[str]]()  # how a test accessed the user's agent
LONG_S = 1800  # builds, and deployments to a local AWS


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores with `-n auto`: tests wait for servers and browsers about half of the time.

    xdist's own variable replaces it, for example where other commands keep the cores busy.
    """
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", (os.cpu_count() or 1) + 1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep the tests of an `xdist_group` on one worker."""
    from tests.groups import GroupScheduling

    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let one worker collect before the others: it writes the bytecode of tests and libraries, which they only read."""
    with first_alone(Path(__file__)):
        return (yield)


def pytest_collection_finish() -> None:
    """Exempt what collection imported from garbage collection: it is never garbage, and slow to look through."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise the timeout of tests that take minutes."""
    for item in items:
        if item.get_closest_marker("deploys") or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail each phase of a test in which it, or a process that it started, wrote a content marker."""
    report = yield
    if report.passed and (leaked := content_markers.leaked_markers(report.sections)):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} wrote content to its output: {', '.join(leaked)} (tests/content_markers.py)"
    if report.passed and (touched := item.stash.get(TOUCHED, [])):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} accesses lambda_src/agent but is missing from tests/agent_tests.py: {touched}"
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record whether a test that `.ci/own-agent` leaves out accesses the agent."""
    if item.path in AGENT_TESTS or TESTS / "agent" in item.path.parents:
        return (yield)
    with watching() as touched:
        item.stash[TOUCHED] = touched
        return (yield)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """Forget the secrets that an app of this test installed for the process: their values would be hidden in others."""
    yield
    tool_secrets.install(None)


@pytest.fixture
def full_app() -> Iterator["FullApp"]:
    """The whole app with every feature switched on, on moto's DynamoDB and S3."""
    from tests.apps.full import full_app_on_moto

    with full_app_on_moto() as full_app:
        yield full_app


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL with this release's schema, for all tests of this process: `emptied` empties it."""
    from tests.store.postgres import migrated, postgres

    async def migrate(url: str) -> None:
        async with migrated(url):
            pass

    with postgres() as url:
        asyncio.run(migrate(url))
        yield url


@pytest.fixture(scope="session")
def ministack_aws() -> Iterator["Aws"]:
    """DynamoDB and S3 in a MiniStack, for all tests of this process, each of which creates its own table and bucket."""
    from tests.store.ministack import ministack

    with ministack() as aws:
        yield aws
