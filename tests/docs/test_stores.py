"""The contract tests and the numbers in docs/reference/stores.md and docs/explanation/stores.md match the code."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from lambda_src.dev.store_contract import StoreContract
from lambda_src.store import bounds, codec, keys
from lambda_src.store.bounds import LATE_WRITES_S, OPERATION_BUDGET_S
from lambda_src.store.dynamodb.payloads import INLINE_MAX_BYTES, PAYLOAD_MAX_BYTES
from lambda_src.store.postgres.migrate import VERSION_TABLE

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "reference" / "stores.md"
EXPLANATION = ROOT / "docs" / "explanation" / "stores.md"
BEGIN, END = "<!-- contract: begin -->\n", "<!-- contract: end -->"


def sentences() -> Iterator[str]:
    """Yield the contract's tests as the document lists them, one bullet per part."""
    for part in StoreContract.__bases__:
        tests = [name for name, member in vars(part).items() if name.startswith("test_") and inspect.isfunction(member)]
        yield (
            f"* **{inspect.getdoc(part)}** "
            + "; ".join(name.removeprefix("test_").replace("_", " ") for name in tests)
            + ".\n"
        )


def test_every_contract_test_is_listed() -> None:
    """Run `python -m tests.docs.test_stores` to write the list."""
    assert DOC.read_text().partition(BEGIN)[2].partition(END)[0] == "".join(sentences())


def test_the_numbers_match_the_code() -> None:
    text = DOC.read_text() + EXPLANATION.read_text()
    for fact in (
        f"above {INLINE_MAX_BYTES // 1024} KB of stored bytes",
        f"above {PAYLOAD_MAX_BYTES // 1024**2} MB of JSON",
        f"over {bounds.MAX_ID_BYTES} bytes",
        f"clamped to {bounds.MIN_LIMIT}..{bounds.MAX_LIMIT}",
        f"after at most {OPERATION_BUDGET_S} s",
        f"gzipped above {codec.GZIP_FROM_BYTES // 1024} KB",
        f"`{keys.ORDER_INDEX}`",
        f"`{VERSION_TABLE}`",
    ):
        assert fact in text, fact
    assert LATE_WRITES_S == 15 * 60
    assert "fifteen minutes after the delete" in " ".join(text.split())


if __name__ == "__main__":
    before, _, rest = DOC.read_text().partition(BEGIN)
    DOC.write_text(before + BEGIN + "".join(sentences()) + END + rest.partition(END)[2])


def test_only_three_verbs_name_removals() -> None:
    others = re.compile(r"def _*(bury|purge|clear|forget|remove|discard|drop|wipe|empty|tidy|prune|destroy)(_\w*)?\(")
    offenders = [
        f"{path.name}: {match[0]}"
        for path in sorted((ROOT / "lambda_src/store").rglob("*.py"))
        for match in others.finditer(path.read_text())
    ]
    assert offenders == [], "use delete, sweep or erase: see lambda_src/store/ports.py"
