"""lambda_src/startup/lazy_packages.py: lazy packages behave like eager ones, also with threads and import hooks."""

from pathlib import Path

import pytest

from tests.startup.conftest import Run

RE_EXPORTING = """
import sys
from lambda_src.startup import lazy_packages
lazy_packages.install(frozenset({"shop"}), {})
"""
DEFERRED = """
import sys
from lambda_src.startup import lazy_packages
lazy_packages.install(frozenset(), {"shop": frozenset()})
"""
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
    """A package `shop` that re-exports names of two of its modules, of a subpackage and of another library."""
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


def test_a_name_imports_only_its_own_module(shop: Path, run: Run) -> None:
    output = run(
        f"{RE_EXPORTING}from shop import price\nprint(price, [name for name in sys.modules if 'shop' in name])"
    )
    assert output == "3 ['shop', 'shop.fruit']"


def test_a_subpackage_is_imported_without_the_rest(shop: Path, run: Run) -> None:
    output = run(f"{RE_EXPORTING}import shop.cellar\nprint(shop.cellar.Wine, 'shop.fruit' in sys.modules)")
    assert output == "<class 'shop.cellar.Wine'> False"


@pytest.mark.parametrize(
    "use",
    [
        "from shop import *\nresult = {name: globals()[name] for name in shop.__all__}",
        "result = {name: getattr(shop, name) for name in shop.__all__}",
        "result = {name: vars(shop)[name] for name in shop.__all__}",
        "result = {name: vars(shop)[name] for name in sorted(vars(shop)) if name[0] != '_'}",
        "result = {name: getattr(__import__('shop', fromlist=[name]), name) for name in shop.__all__}",
        "import importlib\nimportlib.reload(shop)\nresult = {name: vars(shop)[name] for name in shop.__all__}",
    ],
)
def test_every_name_has_the_same_value_as_in_the_eager_package(use: str, shop: Path, run: Run) -> None:
    end = "\nprint({name: repr(value)[:18] for name, value in result.items()}, shop.__version__, shop.__doc__)"
    assert run(f"{RE_EXPORTING}import shop\n{use}{end}") == run(f"import shop\n{use}{end}")


def test_a_module_without_reexported_names_can_be_imported_and_a_missing_name_cannot(shop: Path, run: Run) -> None:
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
    lines = run(f"{RE_EXPORTING}\nexec({program!r}.replace('\\n        ', '\\n'))").splitlines()
    assert lines == ["1 <class 'shop.tools.Knife'> False False", '"""Fruit and True True', "shop"]


@pytest.mark.parametrize("install", [RE_EXPORTING, DEFERRED])
def test_dir_lists_every_name(install: str, shop: Path, run: Run) -> None:
    end = "import shop\nprint([name for name in dir(shop) if name != '__builtins__'])"
    assert run(install + end) == run(end)


@pytest.mark.parametrize("install", [RE_EXPORTING, DEFERRED])
def test_an_assigned_attribute_stays_until_a_reload(install: str, shop: Path, run: Run) -> None:
    program = """
import importlib, shop
shop.Apple = "mine"
print(shop.Knife.__name__, vars(shop)["Apple"], shop.Apple)
print(importlib.reload(shop).Apple)
"""
    assert run(install + program).splitlines() == ["Knife mine mine", "<class 'shop.fruit.Apple'>"]


@pytest.mark.parametrize("use", ["vars(shop)", "shop.Wine"])
def test_a_module_whose_import_failed_is_imported_again(use: str, shop: Path, run: Run) -> None:
    (shop / "cellar" / "__init__.py").write_text(
        "import sys\nif not hasattr(sys, 'ok'): raise RuntimeError('locked')\nclass Wine: pass\n"
    )
    program = f"""
import shop
try:
    {use}
except RuntimeError as error:
    print(error)
sys.ok = True
{use}
print(shop.Wine.__name__, shop.Knife.__name__)
"""
    assert run(RE_EXPORTING + program).splitlines() == ["locked", "Wine Knife"]


def test_modules_that_import_each_other_are_imported_together(shop: Path, run: Run) -> None:
    (shop / "__init__.py").write_text("from .one import One\nfrom .two import Two\n")
    (shop / "one.py").write_text("import time\ntime.sleep(0.02)\nfrom .two import Two\nclass One: pass\n")
    (shop / "two.py").write_text("class Two: pass\nimport time\ntime.sleep(0.02)\nimport shop.one\n")
    program = """
import threading, shop
barrier, values = threading.Barrier(8), []
def use(number):
    barrier.wait()
    values.append(shop.One if number % 2 else shop.Two)
threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(values), len(set(values)), hasattr(shop, "three"), shop.one.__name__)
"""
    assert run(DEFERRED + program) == "8 2 False shop.one"


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    """A package `circle` whose module `group` uses names of the package during its import, as in mcp.client."""
    folder = tmp_path / "circle"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .part import Part\nfrom .last import Last\nfrom .group import Group\n")
    (folder / "part.py").write_text("print('part runs')\nclass Part: pass\n")
    (folder / "group.py").write_text(
        "print('group runs')\nimport circle\nclass Group: parts = circle.Part, circle.Last\n"
    )
    (folder / "last.py").write_text("class Last: pass\n")
    (folder / "unlisted.py").write_text("from circle import Part\n")
    return folder


CIRCLE = DEFERRED.replace('"shop": frozenset()', '"circle": frozenset({"circle.part"})')


@pytest.mark.parametrize(
    "use",
    [
        "from circle.group import Group\nresult = Group.parts",
        "import circle\nresult = circle.Group.parts",
        "import circle.last\nresult = circle.Part, circle.last.Last",
        "import circle.unlisted\nresult = circle.unlisted.Part, circle.Last",
        "from circle import part\nimport circle\nresult = circle.part.Part, circle.Last",
        "from circle.part import Part\nimport circle\nresult = Part, [n for n in sorted(dir(circle)) if n[0] != '_']",
    ],
)
def test_a_deferred_package_body_runs_once_and_in_order(use: str, circle: Path, run: Run) -> None:
    end = "\nimport circle\nprint(result, circle.Part is circle.part.Part, type(circle).__name__, circle.__spec__.name)"
    assert run(CIRCLE + use + end) == run(use + end)


def test_an_exempt_module_is_imported_without_the_package_body(circle: Path, run: Run) -> None:
    assert run(f"{CIRCLE}import circle.part\nprint('circle.group' in sys.modules)") == "part runs\nFalse"


@pytest.mark.parametrize(
    "use",
    [
        "from shop import cellar\nresult = cellar.Wine.year",
        "import shop.cellar.rack\nresult = shop.cellar.rack.SIZE, shop.cellar.Wine.year",
        "from shop.cellar import Wine, rack\nresult = Wine.year, rack.SIZE",
    ],
)
def test_the_body_of_a_deferred_subpackage_runs_when_it_is_used(use: str, shop: Path, run: Run) -> None:
    (shop / "cellar" / "__init__.py").write_text("print('cellar runs')\nfrom shop.cellar.rack import Wine\n")
    (shop / "cellar" / "rack.py").write_text("SIZE = 12\nclass Wine: year = 1990\n")
    (shop / "__init__.py").write_text("")
    subpackage = DEFERRED.replace('"shop"', '"shop.cellar"')
    for end in ("from shop import cellar\nprint('first')\n", ""):
        program = f"{end}{use}\nprint(result)"
        eager, lazy = run(program).splitlines(), run(subpackage + program).splitlines()
        assert sorted(lazy) == sorted(eager)
        assert lazy[0] == ("first" if end else "cellar runs")


def test_threads_that_need_each_others_modules_do_not_deadlock(tmp_path: Path, run: Run) -> None:
    """One thread runs the package body and reaches `slow`, which the other is importing and which imports from it."""
    folder = tmp_path / "pair"
    folder.mkdir()
    (tmp_path / "gate.py").write_text("import threading\nwithin, running, go = [threading.Event() for _ in range(3)]\n")
    (folder / "__init__.py").write_text("from .first import One\nfrom .slow import Two\nfrom .last import Three\n")
    (folder / "first.py").write_text("import gate\ngate.running.set()\nOne = 1\n")
    (folder / "slow.py").write_text("import gate\ngate.within.set()\ngate.go.wait()\nimport pair.last\nTwo = 2\n")
    (folder / "last.py").write_text("Three = 3\n")
    program = """
import threading, gate, importlib
direct = threading.Thread(target=importlib.import_module, args=("pair.slow",), daemon=True)
direct.start()
gate.within.wait()
values = []
all_names = threading.Thread(target=lambda: values.append(importlib.import_module("pair").Two), daemon=True)
all_names.start()
gate.running.wait()
gate.go.set()
direct.join(30)
all_names.join(30)
import pair
print(direct.is_alive(), all_names.is_alive(), values, pair.One, pair.Three)
"""
    exempt = DEFERRED.replace('"shop": frozenset()', '"pair": frozenset({"pair.slow"})')
    assert run(exempt + program) == "False False [2] 1 3"


INSTALL = "from lambda_src.startup import lazy_packages\nlazy_packages.install()\n"


def test_threads_that_use_a_deferred_package_at_once_get_the_same_object(run: Run) -> None:
    """They do not import modules of mcp, because Python itself reports deadlocks there, lazy or not."""
    program = """
import sys, threading
sys.setswitchinterval(1e-5)
import agents
barrier, values = threading.Barrier(8), []
def use(number):
    barrier.wait()
    import mcp
    values.append(mcp.Client if number % 2 else vars(mcp)["Client"])
threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(8)]
[thread.start() for thread in threads]
[thread.join(60) for thread in threads]
print(len(values), len(set(values)))
"""
    assert run(INSTALL + program) == "8 1"


def test_threads_that_use_the_whole_package_and_a_single_name_at_once_get_the_same_object(shop: Path, run: Run) -> None:
    program = """
import threading
sys.setswitchinterval(1e-6)
import shop
barrier, values = threading.Barrier(8), []
def use(number):
    barrier.wait()
    values.append(vars(shop)["Apple"] if number < 2 else shop.Knife.cuts)
threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(values), len(set(values)))
"""
    assert run(RE_EXPORTING + program) == "8 1"


def test_eight_threads_that_use_a_name_at_once_get_the_same_object(shop: Path, run: Run) -> None:
    program = """
import threading, shop
barrier, values = threading.Barrier(8), []
def use(number):
    barrier.wait()
    values.append(shop.Apple if number % 2 else shop.Knife.cuts)
threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(values), len(set(values)))
"""
    assert run(RE_EXPORTING + program) == "8 1"


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
        "from .fruit import Apple as fruit\n",  # also the name of the module shop.fruit, once it is imported
        "from shop.fruit import Apple as fruit\n",
        "for name in list(globals()): pass\n",
    ],
)
def test_a_package_body_that_does_more_than_reexport_runs_eagerly(more: str, shop: Path, run: Run) -> None:
    with (shop / "__init__.py").open("a") as body:
        body.write(more)
    end = "import shop\nprint(type(shop).__name__, 'shop.tools' in sys.modules, sorted(vars(shop)))"
    assert run(RE_EXPORTING + end) == run(f"import sys\n{end}")


def test_a_package_body_that_fails_raises_as_usual(shop: Path, run: Run) -> None:
    (shop / "__init__.py").write_text("from .fruit import Apple\nraise RuntimeError('closed')\n")
    program = (
        f"{RE_EXPORTING}try:\n    import shop\nexcept RuntimeError as error:\n    print(error, 'shop' in sys.modules)"
    )
    assert run(program) == "closed False"


def test_a_name_that_its_module_does_not_define_is_an_import_error(shop: Path, run: Run) -> None:
    (shop / "fruit.py").write_text("PRICE = 3\n")
    output = run(f"{RE_EXPORTING}try:\n    from shop import Apple\nexcept ImportError as error:\n    print(error.name)")
    assert output == "shop"


def test_the_installed_sdks_are_imported_lazily(run: Run) -> None:
    """If this fails, an SDK has changed, and lazy imports no longer work or no longer save time."""
    program = """
import sys
import agents, chatkit.agents
from openai.types.responses import Response
from openai.types.responses.response import Response as Same
kinds = {name: type(module).__name__ for name, module in sys.modules.items()}
listed = lazy_packages.RE_EXPORTING & kinds.keys()
print({kinds[name] for name in listed}, {"openai.types", "openai.types.responses"} <= listed)
print(kinds["mcp"], sorted(name for name in kinds if name.startswith("mcp.")))
print({"openai.types.evals", "openai.types.batch"} & kinds.keys())
print(Response is Same, sum(name.startswith("openai.types.") for name in kinds) < 350)
"""
    assert run(INSTALL + program).splitlines() == [
        "{'_ReExportingPackage'} True",
        "_DeferredPackage ['mcp.shared', 'mcp.shared.exceptions']",
        "set()",
        "True True",
    ]


def test_a_token_is_verified_without_the_code_for_certificates(run: Run) -> None:
    """If this fails, PyJWT or cryptography has changed, and our lazy imports of them no longer save time."""
    program = """
import sys
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
key = Ed25519PrivateKey.generate()
public = jwt.PyJWK(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))
print(jwt.decode(jwt.encode({"sub": "ann"}, key, "EdDSA"), public, algorithms=["EdDSA"]))
print(sorted({"cryptography.x509.base", "jwt.jwks_client"} & sys.modules.keys()))
from cryptography.x509 import Name
from cryptography.x509.oid import NameOID
import cryptography.x509
print(Name is cryptography.x509.Name, "cryptography.x509.base" in sys.modules, jwt.PyJWKClient.__name__)
"""
    assert run(INSTALL + program).splitlines() == ["{'sub': 'ann'}", "[]", "True True PyJWKClient"]


@pytest.mark.parametrize(
    "use",
    [
        "import agents, mcp\nresult = mcp.shared.auth",
        "import agents, mcp\nresult = mcp.types",
        "import agents\nimport mcp.shared.auth\nresult = mcp.shared.auth",
        "import agents\nfrom mcp.client import session_group as result",
        "import openai.types\nresult = openai.types.responses.response",
    ],
)
def test_a_submodule_that_was_not_imported_is_available_as_an_attribute(use: str, run: Run) -> None:
    assert run(f"{INSTALL}{use}\nprint(result.__name__)") == run(f"{use}\nprint(result.__name__)")


HOOKS = """
import importlib.util, sys
from importlib.abc import MetaPathFinder

fired, searching = [], set()

class Chained:
    # Wraps a loader and records that the module has run, like the hooks of wrapt, ddtrace and OpenTelemetry.
    def __init__(self, loader): self.loader = loader
    def create_module(self, spec): return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        fired.append(module.__name__)
    def __getattr__(self, name): return getattr(self.loader, name)

class Hooks(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname not in ("agents", "openai.types.responses", "mcp") or fullname in searching:
            return None
        searching.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            searching.discard(fullname)
        spec.loader = Chained(spec.loader)
        return spec

def register(): sys.meta_path.insert(0, Hooks())
"""


@pytest.mark.parametrize("order", ["register(); lazy_packages.install()", "lazy_packages.install(); register()"])
def test_import_hooks_of_other_libraries_fire_in_either_order(order: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    program = f"""
from hooks import fired, register
from lambda_src.startup import lazy_packages
{order}
import agents, mcp
from openai.types.responses import Response
print(sorted(fired), mcp.Client.__name__, Response.__name__)
"""
    assert run(program) == "['agents', 'mcp', 'openai.types.responses'] Client Response"


def test_we_patch_no_attribute_of_another_distribution(run: Run) -> None:
    """After a turn, no attribute of another distribution's module or class comes from our code."""
    program = """
import asyncio, sys, types
from lambda_src.chat.prewarm import canned_turn
print(asyncio.run(canned_turn()) > 3)

def is_ours(value):
    kinds = types.FunctionType | types.MethodType | type
    return isinstance(value, kinds) and (getattr(value, "__module__", None) or "").split(".")[0] == "lambda_src"

result = set()
for name, module in list(sys.modules.items()):
    if name.split(".")[0] in ("lambda_src", "__main__") or type(module) is not types.ModuleType:
        continue
    for attribute, value in list(vars(module).items()):
        if is_ours(value):
            result.add(f"{name}.{attribute}")
        if isinstance(value, type) and value.__module__ == name:
            result |= {f"{name}.{attribute}.{key}" for key, inner in vars(value).items() if is_ours(inner)}
print(sorted(result))
"""
    assert run(INSTALL + program).splitlines() == ["True", "[]"]


def test_an_agent_with_an_mcp_server_calls_its_tool(tmp_path: Path, run: Run) -> None:
    (tmp_path / "dice.py").write_text(SERVER)
    program = f"""
import asyncio, sys
from agents import Agent, RunConfig, Runner
from agents.mcp import MCPServerStdio
from lambda_src.models.demo_model import DemoModel

async def main():
    params = {{"command": sys.executable, "args": [{str(tmp_path / "dice.py")!r}]}}
    async with MCPServerStdio(params=params, client_session_timeout_seconds=60) as server:
        agent = Agent(name="Test", mcp_servers=[server], model=DemoModel(sleep=lambda _: asyncio.sleep(0)))
        run = await Runner.run(agent, "roll", run_config=RunConfig(tracing_disabled=True))
        print(run.final_output)

asyncio.run(main())
"""
    assert "four" in run(INSTALL + program)
