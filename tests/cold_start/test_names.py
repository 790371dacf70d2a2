"""A package that hands names on is the real one, later: by import, by name, from many threads at once; and with mcp."""

from pathlib import Path

import pytest

from tests.cold_start.conftest import Run

LATE = """
import sys
from lambda_src.cold_start.finder import Finder
from lambda_src.cold_start.names import LateNames, LateWhole
sys.meta_path.insert(0, Finder(LateNames, {"shop"}.__contains__))
"""
WHOLE = LATE.replace("LateNames", "LateWhole")
SERVER = """
from mcp.server import MCPServer
server = MCPServer("dice")
@server.tool()
def roll() -> str:
    return "four"
server.run()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """`shop`, which hands on names of two of its modules, of a package in it and of another library."""
    folder = tmp_path / "shop"
    (folder / "cellar").mkdir(parents=True)
    body = (
        '"""Fruit and more."""\nfrom __future__ import annotations\n'
        "from .fruit import Apple, PRICE as price\nfrom .tools import Knife as Knife\nfrom shop.cellar import Wine\n"
        "from . import cellar as below\nfrom json import dumps\n__version__ = '1'\n"
        "__all__ = ['Apple', 'price', 'Knife', 'Wine', 'below', 'dumps']\n"
    )
    (folder / "__init__.py").write_text(body)
    (folder / "fruit.py").write_text("import time\ntime.sleep(0.02)\nclass Apple: pass\nPRICE = 3\n")
    (folder / "tools.py").write_text("from shop.fruit import Apple\nclass Knife: cuts = Apple\n")
    (folder / "cellar" / "__init__.py").write_text("class Wine: pass\n")
    (folder / "unsold.py").write_text("WEIGHT = 1\n")
    return folder


def test_a_name_imports_its_own_module_and_no_other(shop: Path, run: Run) -> None:
    told = run(f"{LATE}from shop import price\nprint(price, [name for name in sys.modules if 'shop' in name])")
    assert told == "3 ['shop', 'shop.fruit']"


def test_what_is_below_is_imported_without_the_rest(shop: Path, run: Run) -> None:
    told = run(f"{LATE}import shop.cellar\nprint(shop.cellar.Wine, 'shop.fruit' in sys.modules)")
    assert told == "<class 'shop.cellar.Wine'> False"


@pytest.mark.parametrize(
    "use",
    [
        "from shop import *\nfound = {name: globals()[name] for name in shop.__all__}",
        "found = {name: getattr(shop, name) for name in shop.__all__}",
        "found = {name: vars(shop)[name] for name in shop.__all__}",
        "found = {name: vars(shop)[name] for name in sorted(vars(shop)) if name[0] != '_'}",
        "found = {name: getattr(__import__('shop', fromlist=[name]), name) for name in shop.__all__}",
        "import importlib\nimportlib.reload(shop)\nfound = {name: vars(shop)[name] for name in shop.__all__}",
    ],
)
def test_every_name_is_what_the_plain_package_has(use: str, shop: Path, run: Run) -> None:
    end = "\nprint({name: repr(value)[:18] for name, value in found.items()}, shop.__version__, shop.__doc__)"
    assert run(f"{LATE}import shop\n{use}{end}") == run(f"import shop\n{use}{end}")


def test_a_module_that_no_name_is_of_is_found_and_what_is_not_there_is_not(shop: Path, run: Run) -> None:
    program = """
        import shop, inspect
        from shop import unsold
        print(unsold.WEIGHT, shop.tools.Knife, hasattr(shop, "nothing"), hasattr(shop, "__wrapped__"))
        print(inspect.getsource(shop)[:12], shop.__file__.endswith("__init__.py"), "Knife" in dir(shop))
        try:
            from shop import nothing
        except ImportError as error:
            print(error.name)
    """
    lines = run(f"{LATE}\nexec({program!r}.replace('\\n        ', '\\n'))").splitlines()
    assert lines == ["1 <class 'shop.tools.Knife'> False False", '"""Fruit and True True', "shop"]


@pytest.mark.parametrize("late", [LATE, WHOLE])
def test_dir_says_all_there_is(late: str, shop: Path, run: Run) -> None:
    end = "import shop\nprint([name for name in dir(shop) if name != '__builtins__'])"
    assert run(late + end) == run(end)


@pytest.mark.parametrize("late", [LATE, WHOLE])
def test_what_somebody_has_set_stays_until_a_reload(late: str, shop: Path, run: Run) -> None:
    program = """
import importlib, shop
shop.Apple = "mine"
print(shop.Knife.__name__, vars(shop)["Apple"], shop.Apple)
print(importlib.reload(shop).Apple)
"""
    assert run(late + program).splitlines() == ["Knife mine mine", "<class 'shop.fruit.Apple'>"]


@pytest.mark.parametrize("ask", ["vars(shop)", "shop.Wine"])
def test_a_module_that_fails_is_tried_anew(ask: str, shop: Path, run: Run) -> None:
    (shop / "cellar" / "__init__.py").write_text(
        "import sys\nif not hasattr(sys, 'ok'): raise RuntimeError('locked')\nclass Wine: pass\n"
    )
    program = f"""
import shop
try:
    {ask}
except RuntimeError as error:
    print(error)
sys.ok = True
{ask}
print(shop.Wine.__name__, shop.Knife.__name__)
"""
    assert run(LATE + program).splitlines() == ["locked", "Wine Knife"]


def test_modules_in_a_circle_are_imported_together(shop: Path, run: Run) -> None:
    (shop / "__init__.py").write_text("from .one import One\nfrom .two import Two\n")
    (shop / "one.py").write_text("import time\ntime.sleep(0.02)\nfrom .two import Two\nclass One: pass\n")
    (shop / "two.py").write_text("class Two: pass\nimport time\ntime.sleep(0.02)\nimport shop.one\n")
    program = """
import threading, shop
together, seen = threading.Barrier(8), []
def ask(number):
    together.wait()
    seen.append(shop.One if number % 2 else shop.Two)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
print(len(seen), len(set(seen)), hasattr(shop, "three"), shop.one.__name__)
"""
    assert run(WHOLE + program) == "8 2 False shop.one"


def test_a_module_of_a_circle_is_imported_before_its_package_is_asked_for_anything(tmp_path: Path, run: Run) -> None:
    """As mcp.client.session_group is: while it is being imported it asks its package, which hands on a name of it."""
    folder = tmp_path / "circle"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .part import Part\nfrom .group import Group\nfrom .last import Last\n")
    (folder / "part.py").write_text("class Part: pass\n")
    (folder / "group.py").write_text("import circle\nclass Group: parts = circle.Part, circle.Last\n")
    (folder / "last.py").write_text("class Last: pass\n")
    program = """
from circle.group import Group
import circle
print(Group is circle.Group, Group.parts == (circle.Part, circle.Last), sorted(n for n in dir(circle) if n[0] != "_"))
"""
    late = WHOLE.replace("shop", "circle")
    assert run(late + program) == "True True ['Group', 'Last', 'Part', 'group', 'last', 'part']"


def test_threads_that_need_each_others_modules_do_not_wait_for_ever(tmp_path: Path, run: Run) -> None:
    """One is bringing all names and comes to `slow`, which the other is importing, and which asks for a name."""
    folder = tmp_path / "pair"
    folder.mkdir()
    (tmp_path / "gate.py").write_text(
        "import threading\nwithin, bringing, go = [threading.Event() for _ in range(3)]\n"
    )
    (folder / "__init__.py").write_text("from .first import One\nfrom .slow import Two\nfrom .last import Three\n")
    (folder / "first.py").write_text("import gate\ngate.bringing.set()\nOne = 1\n")
    (folder / "slow.py").write_text("import gate\ngate.within.set()\ngate.go.wait()\nfrom pair import Three\nTwo = 2\n")
    (folder / "last.py").write_text("Three = 3\n")
    program = """
from lambda_src.cold_start import names
names.WAIT_S = 0.1
import threading, gate, importlib
direct = threading.Thread(target=importlib.import_module, args=("pair.slow",), daemon=True)
direct.start()
gate.within.wait()
seen = []
all_names = threading.Thread(target=lambda: seen.append(importlib.import_module("pair").Two), daemon=True)
all_names.start()
gate.bringing.wait()
gate.go.set()
direct.join(30)
all_names.join(30)
import pair
print(direct.is_alive(), all_names.is_alive(), seen, pair.One, pair.Three)
"""
    assert run(WHOLE.replace("shop", "pair") + program) == "False False [2] 1 3"


def test_one_thread_asks_for_all_while_others_ask_for_one(shop: Path, run: Run) -> None:
    program = """
import threading
sys.setswitchinterval(1e-6)
import shop
together, seen = threading.Barrier(8), []
def ask(number):
    together.wait()
    seen.append(vars(shop)["Apple"] if number < 2 else shop.Knife.cuts)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
print(len(seen), len(set(seen)))
"""
    assert run(LATE + program) == "8 1"


def test_eight_threads_that_ask_at_once_get_the_same(shop: Path, run: Run) -> None:
    program = """
import threading, shop
together, seen = threading.Barrier(8), []
def ask(number):
    together.wait()
    seen.append(shop.Apple if number % 2 else shop.Knife.cuts)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
print(len(seen), len(set(seen)))
"""
    assert run(LATE + program) == "8 1"


@pytest.mark.parametrize(
    "more",
    [
        "import time\n",
        "print('at work')\n",
        "LIMIT = 3\n",
        "def helper(): return Apple\n",
        "class Own(Apple): pass\n",
        "from .fruit import *\n",
        "if price: SOLD = 1\n",
        "__all__ += [Apple.__name__]\n",
        "from .fruit import Apple as fruit\n",  # the module shop.fruit, once it is imported, has this name too
        "from shop.fruit import Apple as fruit\n",
        "for name in list(globals()): pass\n",
    ],
)
def test_a_body_that_does_more_than_hand_on_is_run_as_ever(more: str, shop: Path, run: Run) -> None:
    with (shop / "__init__.py").open("a") as body:
        body.write(more)
    end = "import shop\nprint(type(shop).__name__, 'shop.tools' in sys.modules, sorted(vars(shop)))"
    assert run(LATE + end) == run(f"import sys\n{end}")


def test_a_body_that_fails_says_so_as_ever(shop: Path, run: Run) -> None:
    (shop / "__init__.py").write_text("from .fruit import Apple\nraise RuntimeError('closed')\n")
    program = f"{LATE}try:\n    import shop\nexcept RuntimeError as error:\n    print(error, 'shop' in sys.modules)"
    assert run(program) == "closed False"


def test_a_name_whose_module_lacks_it_is_an_import_error(shop: Path, run: Run) -> None:
    (shop / "fruit.py").write_text("PRICE = 3\n")
    told = run(f"{LATE}try:\n    from shop import Apple\nexcept ImportError as error:\n    print(error.name)")
    assert told == "shop"


def test_the_sdks_load_what_they_use(run: Run) -> None:
    """If this fails, an SDK has changed: the lever `names` no longer pays, or no longer fits."""
    told = run(
        """
        import sys
        import lambda_src
        import agents, chatkit.agents
        from lambda_src.cold_start import HANDING_ON, HANDING_ON_WHOLE
        from openai.types.responses import Response
        from openai.types.responses.response import Response as Same
        known = (HANDING_ON | HANDING_ON_WHOLE) & set(sys.modules)
        loaded = {name: type(sys.modules[name]).__name__ for name in known}
        print(set(loaded.values()), {"mcp", "openai.types", "openai.types.responses"} <= set(loaded))
        print({"mcp.client", "mcp.server", "openai.types.evals", "openai.types.batch"} & set(sys.modules))
        print(Response is Same, sum(name.startswith("openai.types.") for name in sys.modules) < 350)
        """
    )
    assert told.splitlines() == ["{'_Package'} True", "set()", "True True"]


@pytest.mark.parametrize("off", ["", "names", "names,models"])
def test_an_agent_with_an_mcp_server_calls_its_tool(off: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "dice.py").write_text(SERVER)
    told = run(
        f"""
        import asyncio, sys
        import lambda_src
        from agents import Agent, RunConfig, Runner
        from agents.mcp import MCPServerStdio
        from lambda_src.demo_model import DemoModel

        async def main():
            params = {{"command": sys.executable, "args": [{str(tmp_path / "dice.py")!r}]}}
            async with MCPServerStdio(params=params, client_session_timeout_seconds=60) as server:
                agent = Agent(name="Test", mcp_servers=[server], model=DemoModel(sleep=lambda _: asyncio.sleep(0)))
                run = await Runner.run(agent, "roll", run_config=RunConfig(tracing_disabled=True))
                print(run.final_output)

        asyncio.run(main())
        """,
        CHAT_LEVERS_OFF=off,
    )
    assert "four" in told
