"""docs/reference/routes.md lists every route of the app."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "routes.md"
PREFIXES = {"app.py": "", "chat_routes.py": "/chatkit"}
HTML = {"GET /"}  # its path is a variable in the code


def test_every_route_is_listed() -> None:
    routes = {
        f"{method.upper()} {prefix}{path}"
        for name, prefix in PREFIXES.items()
        for method, path in re.findall(
            r'@(?:app|router)\.(get|post|put|patch|delete)\("([^"]*)"\)',
            (ROOT / "lambda_src" / "http" / name).read_text("utf-8"),
        )
    }
    assert len(routes) > 10, "the routes are declared in another way now"
    listed = [row for row in PAGE.read_text("utf-8").splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`((?:GET|POST) [^`]+)`", " ".join(row.split(" | ")[0] for row in listed))) == routes | HTML
