"""What is wrong with the user's own code, as one line: file, line, exception. On a laptop only: it tells texts."""

import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def told(fault: BaseException) -> str:
    """`lambda_src/agent/tools.py, line 3: SyntaxError: '(' was never closed`.

    The place is the one in the project that is nearest to the fault: of a file that cannot be read it is in that file.
    """
    what = f"{type(fault).__name__}: {fault.msg if isinstance(fault, SyntaxError) else fault}"
    place = _place(fault)
    return what if place is None else f"{place[0]}, line {place[1]}: {what}"


def _place(fault: BaseException) -> tuple[str, int] | None:
    if isinstance(fault, SyntaxError) and fault.filename is not None:
        return _shown(fault.filename), fault.lineno or 1
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if _is_ours(frame.filename)] or list(frames)
    return (_shown(ours[-1].filename), ours[-1].lineno or 1) if ours else None


def _is_ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(ROOT) and "site-packages" not in path.parts


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else file
