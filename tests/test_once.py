"""tests/once.py: work is done by one worker of a run, and the others get its result."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.once import first_alone, once


@pytest.fixture
def name() -> str:
    """The name of work that no other test does."""
    return uuid.uuid4().hex


def test_workers_that_need_the_same_result_at_the_same_time_share_it(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workers, made = Barrier(3), list[str]()
    tmp_path_factory.getbasetemp()  # before threads do, of which each would make its own

    def make() -> str:
        made.append(name)
        return "result"

    def work(_: int) -> str:
        workers.wait()
        return once(tmp_path_factory, name, make)

    with ThreadPoolExecutor(3) as executor:
        assert [*executor.map(work, range(3))] == ["result"] * 3
    assert made == [name]


def test_work_that_failed_is_done_by_the_next_worker(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ZeroDivisionError):
        once(tmp_path_factory, name, lambda: str(1 // 0))
    assert once(tmp_path_factory, name, lambda: "result") == "result"


def test_each_name_has_its_own_result(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert once(tmp_path_factory, f"{name}-1", lambda: "first") == "first"
    assert once(tmp_path_factory, f"{name}-2", lambda: "second") == "second"


def test_others_wait_until_the_first_has_left(tmp_path: Path) -> None:
    file, entered = tmp_path / "file", list[str]()
    file.touch()

    def follow(_: int) -> None:
        with first_alone(file):
            entered.append("another")

    with ThreadPoolExecutor(2) as executor:
        with first_alone(file):
            followers = executor.map(follow, range(2))
            entered.append("first")
        assert [*followers] == [None, None]
    assert entered == ["first", "another", "another"]
