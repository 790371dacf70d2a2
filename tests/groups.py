"""Distributes the tests of a parallel run: files that name the same `xdist_group` run on one worker, and start first.

xdist sends the group of a test as part of its ID, which pytest 9.2 no longer lets it change, so every test would be
distributed alone. This scheduler reads the groups from the files.
"""

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # it has annotations, and no marker

MARK = re.compile(r"""xdist_group\(["'](.+?)["']\)""")


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc] # as above
    """Assigns groups, the largest first, then single tests in the order of their files."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        super().__init__(config, log)
        self._root = config.rootpath
        self._groups: dict[Path, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        """The group that the file of a test names, or else the test itself."""
        path = self._root / nodeid.partition("::")[0]
        if path not in self._groups:
            mark = MARK.search(path.read_text(encoding="utf-8"))
            self._groups[path] = mark[1] if mark else ""
        return self._groups[path] or nodeid
