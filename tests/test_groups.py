"""tests/groups.py: xdist's scheduler keeps the tests of a group on one worker, and starts with the largest group."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.groups import GroupScheduling

TESTS = [
    "a.py::one",
    "b.py::two",
    "b.py::three",
    "c.py::four",
    "d.py::five",
    "c.py::six[x@y]",
    "a.py::seven",
    "d.py::eight",
]
GROUPED = {"b.py": '"one server"', "c.py": "'one server'", "d.py": '"another"'}


@dataclass(eq=False)
class Worker:
    """A worker as the scheduler sees it."""

    gateway: Any
    tests: list[str] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        """Receive tests."""
        self.tests += [TESTS[index] for index in indices]

    def shutdown(self) -> None:
        """Receive no more tests."""
        self.shutting_down = True


@pytest.fixture
def workers(tmp_path: Path) -> list[Worker]:
    """Two workers that have run all tests, each the first that it was sent whenever the other has none."""
    for name in ("a.py", "b.py", "c.py", "d.py"):
        mark = f"pytestmark = [pytest.mark.xdist_group({GROUPED[name]})]\n" if name in GROUPED else ""
        (tmp_path / name).write_text(mark)
    config: Any = SimpleNamespace(
        rootpath=tmp_path, option=SimpleNamespace(loadscopereorder=True), getvalue=lambda _: ["popen", "popen"]
    )
    scheduling = GroupScheduling(config)
    workers = [Worker(SimpleNamespace(id=name)) for name in ("first", "second")]
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, TESTS)
    scheduling.schedule()
    ran = dict.fromkeys(TESTS, False)
    while not all(ran.values()):
        for worker in workers:
            for test in [test for test in worker.tests if not ran[test]][:1]:
                ran[test] = True
                scheduling.mark_test_complete(worker, TESTS.index(test))
    return workers


def test_every_test_runs_once(workers: list[Worker]) -> None:
    assert sorted(test for worker in workers for test in worker.tests) == sorted(TESTS)


def test_files_that_name_the_same_group_run_on_one_worker_and_the_largest_group_starts_first(
    workers: list[Worker],
) -> None:
    assert workers[0].tests[:4] == ["b.py::two", "b.py::three", "c.py::four", "c.py::six[x@y]"]
    assert workers[1].tests[:2] == ["d.py::five", "d.py::eight"]


def test_tests_without_a_group_run_on_the_worker_that_is_free(workers: list[Worker]) -> None:
    alone = ["a.py::one", "a.py::seven"]
    assert [test for test in workers[1].tests if test in alone] == alone
