"""How the libraries of others are loaded: what a process does not use is neither imported nor built.

`install` runs before the first of them is imported, when `lambda_src` itself is. Each shortcut stands in a module of
its own and leaves what it does not fit to the plain path: what can be imported, and what it does, is the same.
docs/speed.md says what each is worth and how to switch it off.
"""

import sys
from contextlib import suppress
from pathlib import Path

from lambda_src import levers
from lambda_src.cold_start import generated
from lambda_src.cold_start.finder import Finder
from lambda_src.cold_start.models import LateModels, build_shared
from lambda_src.cold_start.names import LateNames, LateWhole

GENERATED = Path(__file__).with_name("generated.bin")  # in the zip only: infra/generated_code.py writes it

# Packages that hand on the names of hundreds of modules, of which few are used.
HANDING_ON = frozenset(
    {
        "openai.types",
        "openai.types.beta",
        "openai.types.chat",
        "openai.types.graders",
        "openai.types.realtime",
        "openai.types.responses",
        "openai.types.shared",
    }
)
# The Agents SDK imports mcp.shared.exceptions, for one class: not its client, its server, its web server.
HANDING_ON_WHOLE = frozenset({"mcp"})
# Packages whose pydantic models are many, and mostly unused.
FULL_OF_MODELS = ("agents", "fastapi.openapi", "mcp_types", "openai.lib.streaming")
# Modules whose models are in each model of an answer and of its events. openai builds none before it is used.
SHARED_MODELS = ("openai.types.responses.response_output_item", "openai.types.responses.tool")


def install() -> None:
    """Let what is imported from here on take the shortcuts."""
    if levers.taken("generated"):
        generated.use(GENERATED)
    if levers.taken("names"):
        sys.meta_path.insert(0, Finder(LateNames, HANDING_ON.__contains__))
        sys.meta_path.insert(0, Finder(LateWhole, HANDING_ON_WHOLE.__contains__))
    if levers.taken("models"):
        sys.meta_path.insert(0, Finder(LateModels, is_full_of_models))


def load_models() -> None:
    """Import and build what every answer is made of, before the SDKs build more of it. Imports openai."""
    if levers.taken("models"):
        with suppress(ImportError):  # an openai that keeps them elsewhere: each model builds its own
            build_shared(SHARED_MODELS)


def loaded() -> None:
    """Everything that a message needs has been imported: what the build compiled has been used."""
    generated.stand_back()


def is_full_of_models(module: str) -> bool:
    """Whether it is one of those packages, or a module in one."""
    return any(module == one or module.startswith(f"{one}.") for one in FULL_OF_MODELS)
