"""A stage without operators pays nothing for them: no import, no request, no row."""

import subprocess
import sys
from pathlib import Path

from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from tests.store.local import Local

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from lambda_src.composition.app import asgi_app
asgi_app()
from lambda_src.chat import server
print(sorted(name for name in sys.modules if name.startswith("lambda_src.support") or name.endswith("inbox")
             or name in ("lambda_src.http.operator_routes", "lambda_src.runs.ask_a_human")))
"""
ENV = {
    "CHAT_STORE": "memory",
    "CHAT_AUTH_ISSUER": "https://issuer.test/",
    "CHAT_AUTH_AUDIENCE": "chat",
    "PATH": "/usr/bin",
}


def modules_with(**settings: str) -> str:
    """The modules of the support side that a process with these settings has imported."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, env=ENV | settings, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_nothing_of_the_support_side_is_imported() -> None:
    assert modules_with() == "[]"


def test_a_stage_with_operators_imports_it() -> None:
    assert "lambda_src.support.desk" in modules_with(CHAT_OPERATORS='{"claim": "groups", "value": "support"}')


async def test_deleting_and_sweeping_a_thread_make_the_same_requests_as_before() -> None:
    local, ann = Local(), context_of("ann")
    await local.store().save_thread(thread_of("thr_1"), ann)
    await local.store().add_thread_item("thr_1", message_of("msg_1", thread_id="thr_1"), ann)
    local.engine.requests.clear()
    await local.store().delete_thread("thr_1", ann)
    await local.store().sweep_thread("thr_1", ann, stop=lambda: False)
    assert local.engine.requests == [
        *("TransactWriteItems", "Query", "Query", "BatchWriteItem", "Query", "UpdateItem"),
    ]
    assert not [key for key in local.engine.rows if key[0].startswith("INBOX#")]
