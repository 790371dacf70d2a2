"""Which models that we ship or document are shut down soon, by the list in .github/model-shutdowns.json.

The weekly workflow runs `python3 -m infra.preflight.documented_models`, with the standard library alone. The test
suite does not, because an old clone must stay green. The dates are those of OpenAI's deprecations page.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

DAYS = 90  # before the shutdown: a release, and time to take it
LIST = Path(".github/model-shutdowns.json")
NAMED_IN = ("README.md", "cdk.json", "docs/**/*.md", "lambda_src/**/*.py", "infra/**/*.py", "examples/**/*.md")


def shutdowns(text: str) -> dict[str, date]:
    """The list, read."""
    return {model: date.fromisoformat(day) for model, day in json.loads(text).items()}


def found(root: Path, days: Mapping[str, date], *, today: date) -> Iterator[str]:
    """A line for each place in `root` that names a model with fewer than DAYS days left."""
    soon = {model: day for model, day in days.items() if (day - today).days < DAYS}
    if not soon:
        return
    longest_first = sorted(map(re.escape, soon), key=len, reverse=True)
    named = re.compile(rf"(?<![\w.-])({'|'.join(longest_first)})(?![\w-]|\.\d)")
    for path in sorted({path for pattern in NAMED_IN for path in root.glob(pattern)}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for model in named.findall(line):
                yield f"{path.relative_to(root)}:{number} names {model}, which is shut down on {soon[model]}."


def main() -> int:
    """Look through the repository in the working directory. Returns the exit code."""
    today = datetime.now(UTC).date()
    lines = list(found(Path.cwd(), shutdowns(LIST.read_text(encoding="utf-8")), today=today))
    print("\n".join(lines) or f"no model that is named here is shut down within {DAYS} days")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
