"""Turns the paths of pages, such as docs/how-to/auth.md in the description of an option, into links. Pure."""

import re

PAGE = re.compile(r"(?P<colon>: )?docs/(?P<path>[\w/-]+/(?P<name>[\w-]+\.md))(?P<stop>\.(?=\s|$))?")


def linked(text: str) -> str:
    """The text for a page in docs/reference/: `Days: docs/how-to/a.md.` becomes `Days ([details](../how-to/a.md)).`"""

    def link(match: re.Match[str]) -> str:
        colon, path, name, stop = match.group("colon", "path", "name", "stop")
        target = path.removeprefix("reference/") if path.startswith("reference/") else f"../{path}"
        if colon and stop:
            return f" ([details]({target}))."
        return f"{colon or ''}[{name}]({target}){stop or ''}"

    return PAGE.sub(link, text)
