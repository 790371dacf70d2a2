"""For every suite: asserts beside the code are rewritten like those in here, and no test may have told a canary."""

from collections.abc import Generator

import pytest

from tests import canaries

pytest.register_assert_rewrite("lambda_src.dev.store_contract")


LONG_S = 1800  # builds, and deployments to a local AWS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that take minutes the time for it."""
    for item in items:
        if item.get_closest_marker("deploys") or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test, each of its phases too, when it, or a process that it started, wrote a canary."""
    report = yield
    if report.passed and (told := canaries.told(report.sections)):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} told what was sent: {', '.join(told)} (tests/canaries.py)"
    return report
