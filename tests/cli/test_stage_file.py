"""lambda_src/cli/stage_file.py: sets an environment variable of a stage in cdk.json and changes nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_src.cli.stage_file import set_variable, with_member
from lambda_src.errors import SettingsError

KEYS = ("context", "stages", "dev", "environment", "STORE")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{"context": {"stages": {"dev": {"environment": {"STORE": "old", "A": "b"}}}}}',
            '{"context": {"stages": {"dev": {"environment": {"STORE": "vs_1", "A": "b"}}}}}',
        ),
        (
            '{"context": {"stages": {"dev": {"environment": {}}}}}',
            '{"context": {"stages": {"dev": {"environment": {"STORE": "vs_1"}}}}}',
        ),
        (
            '{"context": {"stages": {"dev": {"a": [1,2], "b": {}}, "prod": {}}}}\n',
            '{"context": {"stages": {"dev": {"a": [1,2], "b": {}, "environment": {"STORE": "vs_1"}}, "prod": {}}}}\n',
        ),
        (
            '{\n  "context": {\n    "stages": {\n      "dev": {\n        "a": 1\n      }\n    }\n  }\n}\n',
            '{\n  "context": {\n    "stages": {\n      "dev": {\n        "a": 1,\n'
            '        "environment": {"STORE": "vs_1"}\n      }\n    }\n  }\n}\n',
        ),
        (
            '{"context":{"stages":{"dev":{"environment":{"A":"{}\\"},"}}}}}',
            '{"context":{"stages":{"dev":{"environment":{"A":"{}\\"},", "STORE": "vs_1"}}}}}',
        ),
    ],
)
def test_the_rest_of_the_file_is_unchanged(before: str, after: str) -> None:
    assert with_member(before, KEYS, "vs_1") == after


TEXT = st.text('"\\\\{}[],: \n\u00e9', max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), JSON), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_any_object_gains_exactly_this_member(value: dict[str, Any], indent: int | str | None, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    if isinstance(value.get("a", {}), dict):
        expected = {**value, "a": {**value.get("a", {}), "b": "new"}}
        assert json.loads(with_member(text, ("a", "b"), "new")) == expected
    else:
        with pytest.raises(TypeError):
            with_member(text, ("a", "b"), "new")


def test_the_file_keeps_its_line_endings_its_mode_and_its_symlink(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "cdk.json"
    real.write_bytes(b'{\r\n "context": {"stages": {"dev": {}}}}\r\n')
    real.chmod(0o640)
    link.symlink_to(real)
    set_variable(link, "dev", "STORE", "vs_1")
    assert real.read_bytes() == b'{\r\n "context": {"stages": {"dev": {"environment": {"STORE": "vs_1"}}}}}\r\n'
    assert (real.stat().st_mode & 0o777, link.is_symlink(), len(list(tmp_path.iterdir()))) == (0o640, True, 2)


@pytest.mark.parametrize("text", ["", "[]", '{"context": 1}', '{"context": {"stages": {"dev": {"environment": 7}}}}'])
def test_if_the_file_has_no_such_stage_the_message_says_what_to_add(tmp_path: Path, text: str) -> None:
    (tmp_path / "cdk.json").write_text(text)
    with pytest.raises(SettingsError, match='add "STORE": "vs_1" to `environment` of stage dev'):
        set_variable(tmp_path / "cdk.json", "dev", "STORE", "vs_1")
    assert (tmp_path / "cdk.json").read_text() == text
