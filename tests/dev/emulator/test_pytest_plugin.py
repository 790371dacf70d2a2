"""lambda_src/dev/emulator/pytest_plugin.py: the `emulate` fixture with a user's own app in their own folder."""

from pathlib import Path

from lambda_src.dev.emulator.pytest_plugin import Emulate
from tests.dev.emulator.client import get

APP = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def hello(request):
    print("asked")
    return PlainTextResponse("hello from " + __name__)

app = Starlette(routes=[Route("/", hello)])
"""


async def test_a_bare_starlette_app_is_served_by_name(emulate: Emulate, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(APP)
    emulator = await emulate("theirs:app", task_root=tmp_path, processes=1)
    assert (await get(emulator.url)).body == b"hello from theirs"
    assert emulator.printed == "asked\n"


async def test_several_emulators_can_run_side_by_side(emulate: Emulate, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(APP)
    first = await emulate("theirs:app", task_root=tmp_path)
    second = await emulate("theirs:app", task_root=tmp_path, managed=2)
    assert (await get(first.url)).body == (await get(second.url)).body
