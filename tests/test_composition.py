"""The composition root: which parts are joined, and that a client outlives a SnapStart restore."""

from pathlib import Path

import pytest
import snapshot_restore_py
from chatkit.store import NotFoundError

from lambda_src import composition
from lambda_src.context import RequestContext, User
from lambda_src.dev.local_aws import TABLE, local_aws
from lambda_src.settings import Settings
from lambda_src.store.memory import MemoryStore
from tests.test_settings import ENV

ANN = RequestContext(user=User(id="ann"), request_id="r")


async def test_a_store_built_before_a_snapshot_works_after_the_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    before = len(snapshot_restore_py.get_after_restore())
    async with local_aws(tmp_path) as aws:
        for name, value in aws.env.items():
            monkeypatch.setenv(name, value)
        store, _ = composition.build_store(Settings.from_env({**ENV, "CHAT_TABLE": TABLE}))
        with pytest.raises(NotFoundError):
            await store.load_thread("thr_no", ANN)
        hooks = snapshot_restore_py.get_after_restore()[before:]
        assert hooks, "each client registers a hook"
        for function, arguments, named in hooks:
            function(*arguments, **named)
        with pytest.raises(NotFoundError):
            await store.load_thread("thr_no", ANN)


def test_memory_needs_nothing_of_aws() -> None:
    env = {name: value for name, value in ENV.items() if name != "CHAT_TABLE"}
    store, ledger = composition.build_store(Settings.from_env({**env, "CHAT_STORE": "memory"}))
    assert isinstance(store, MemoryStore)
    assert ledger is store.ledger


def test_turns_beside_postgresql_are_of_one_process_without_a_table() -> None:
    env = {name: value for name, value in ENV.items() if name != "CHAT_TABLE"}
    url = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    store, ledger = composition.build_store(
        Settings.from_env({**env, "CHAT_STORE": "postgres", "CHAT_DATABASE_URL": url})
    )
    assert not isinstance(store, MemoryStore)
    assert type(ledger).__name__ == "MemoryLedger"
