"""A deferred package is the real one, later: by import, by name, from many threads at once, and with a real server."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVER = """
from mcp.server import MCPServer
server = MCPServer("dice")
@server.tool()
def roll() -> str:
    return "four"
server.run()
"""


def run(code: str, *, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints; what it raises fails the test."""
    program = "import sys\nfrom lambda_src.deferred import defer\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        cwd=cwd,
        env={"PYTHONPATH": f"{ROOT}:{cwd}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """`slow`, whose body counts itself, imports its own part and takes its time."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text(
        "import sys, time\nfrom slow.part import VALUE\nsys.bodies = getattr(sys, 'bodies', 0) + 1\n"
        "time.sleep(0.05)\nLATE = VALUE + 1\n__version__ = '1'\n"
    )
    (tmp_path / "slow" / "part.py").write_text("import sys\nsys.parts = getattr(sys, 'parts', 0) + 1\nVALUE = 41\n")
    return tmp_path


def test_what_is_below_the_package_is_imported_without_its_body(package: Path) -> None:
    told = run(
        """
        print(defer("slow"))
        import slow.part
        print(slow.part.VALUE, getattr(sys, "bodies", 0))
        """,
        cwd=package,
    )
    assert told == "True\n41 0"


@pytest.mark.parametrize("use", ["slow.LATE", "__import__('slow', fromlist=['LATE']).LATE", "slow.part.VALUE + 1"])
def test_the_first_use_runs_the_body_once(use: str, package: Path) -> None:
    told = run(
        f"""
        defer("slow")
        import slow.part
        value = {use}
        from slow import LATE, __version__
        print(value, LATE, __version__, sys.bodies, sys.parts, type(slow).__name__, slow.__spec__.name)
        """,
        cwd=package,
    )
    assert told == "42 42 1 1 1 module slow"


def test_eight_threads_that_use_it_at_once_see_one_finished_body(package: Path) -> None:
    told = run(
        """
        import threading
        defer("slow")
        together, seen = threading.Barrier(8), []
        def use(number):
            together.wait()
            if number % 2:
                import slow
                seen.append(slow.LATE)
            else:
                from slow import LATE
                seen.append(LATE)
        threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
        [one.start() for one in threads]
        [one.join() for one in threads]
        print(seen, sys.bodies)
        """,
        cwd=package,
    )
    assert told == f"{[42] * 8} 1"


def test_a_name_that_is_not_there_is_an_attribute_error_before_and_after(package: Path) -> None:
    told = run(
        """
        defer("slow")
        import slow
        print(hasattr(slow, "nothing"), hasattr(slow, "nothing"), sys.bodies)
        try:
            from slow import nothing
        except ImportError as error:
            print(error.name)
        """,
        cwd=package,
    )
    assert told == "False False 1\nslow"


def test_it_can_be_reloaded(package: Path) -> None:
    told = run(
        """
        import importlib
        defer("slow")
        import slow
        print(importlib.reload(slow).LATE, sys.bodies, type(slow).__name__)
        """,
        cwd=package,
    )
    assert told.startswith("42")


def test_a_body_that_fails_is_tried_anew(package: Path) -> None:
    (package / "slow" / "__init__.py").write_text(
        "import sys\nif not hasattr(sys, 'ok'): raise RuntimeError('no')\nA = 1\n"
    )
    told = run(
        """
        defer("slow")
        import slow
        try:
            slow.A
        except RuntimeError as error:
            print(error)
        sys.ok = True
        print(slow.A)
        """,
        cwd=package,
    )
    assert told == "no\n1"


def test_what_is_missing_or_imported_already_is_left_alone() -> None:
    assert run("import json\nprint(defer('json'), defer('no_such_package'))") == "False False"


def test_the_agents_sdk_does_not_run_mcp(package: Path) -> None:
    """If this fails, the SDK or mcp has changed: the lever `mcp` no longer pays, or no longer fits."""
    told = run(
        """
        defer("mcp")
        import agents, chatkit.agents
        print("mcp.client" in sys.modules, "mcp.server" in sys.modules, "ClientSession" in vars(sys.modules["mcp"]))
        """
    )
    assert told == "False False False"


@pytest.mark.parametrize("deferred", [True, False])
def test_an_agent_with_an_mcp_server_calls_its_tool(deferred: bool, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(SERVER)
    told = run(
        f"""
        import asyncio
        {'defer("mcp")' if deferred else ""}
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
        """
    )
    assert "four" in told
