"""The errors of builds and deployments. Commands print their text without a traceback.

InfraError
├── ConfigError     the context in cdk.json is wrong; lists every fault at once
├── ToolError       a program that we run is not installed; says how to install it
├── BundleError     the zip cannot be built
└── PreflightError  this deployment would fail, or should not happen; lists every reason at once
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


class InfraError(Exception):
    """The root. Its text is for the person at the terminal and says what to do."""


class ConfigError(InfraError):
    """The context cannot be deployed. `faults` has one sentence per fault; the text joins them."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n  ".join(["The context in cdk.json is wrong:", *faults]))


class ToolError(InfraError):
    """A program that we run is not installed."""


class BundleError(InfraError):
    """The zip cannot be built."""


class PreflightError(InfraError):
    """Nothing was deployed. `faults` has one line per reason; the text joins them."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


def reports_errors(main: Callable[P, int]) -> Callable[P, int]:
    """The main function of a command, which prints an InfraError as one text and then returns exit code 1."""

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except InfraError as error:
            print(error, file=sys.stderr)
            return 1

    return run
