"""Options that select a user: the opaque id, or the issuer and subject of which it is the hash."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lambda_src.errors import RequestError

BACKEND = "urn:chatkit-lambda:backend"
Issuer = Annotated[
    str | None,
    typer.Option("--issuer", help=f"The issuer, exactly as in the tokens; of your own backend: {BACKEND}."),
]
Subject = Annotated[str | None, typer.Option("--subject", help="The user's `sub` at that issuer.")]
UserId = Annotated[
    str | None, typer.Argument(metavar="[USER]", help="The user's id, as in the logs; or use --issuer and --subject.")
]


def user_of(user: str | None, issuer: str | None, subject: str | None) -> str:
    """The opaque id that the options name. RequestError: they name none, or two."""
    if issuer is None and subject is None:
        if not user:
            raise RequestError("Name the user: the id from the logs, or --issuer and --subject.")
        return user
    if user is not None:
        raise RequestError("Name the user once: by the id, or by --issuer and --subject.")
    return id_of(issuer, subject)


def id_of(issuer: str | None, subject: str | None) -> str:
    """The opaque id of this issuer and subject. RequestError: one of them is missing or empty."""
    from lambda_src.auth.bearer import user_id_of  # noqa: PLC0415 - it loads PyJWT

    for option, value in (("--issuer", issuer), ("--subject", subject)):
        if value is None:
            raise RequestError(f"{option} is missing: a user is an issuer and a subject together.")
        if not value.strip():
            raise RequestError(f"{option} is empty.")
    assert issuer is not None
    assert subject is not None
    return user_id_of(issuer, subject)


def mapping(users: Path | None, issuer: str | None, subject: str | None) -> Callable[[str], str]:
    """From the users in a file to ours. RequestError: the options contradict each other, or the map is damaged.

    With --issuer, the new users in the map (without a map: the users in the file) are subjects of that issuer. With
    --subject, everything goes to that one user.
    """
    if subject is not None:
        if users is not None:
            raise RequestError("Use either --map or --subject.")
        only = id_of(issuer, subject)
        return lambda _: only
    mapped = read_map(users) if users is not None else {}
    if issuer is None:
        return lambda old: mapped.get(old, old)

    def subject_of(old: str) -> str:
        if users is not None and old not in mapped:
            raise RequestError(f"{users} has no line for user {old}.")
        return id_of(issuer, mapped.get(old, old))

    return subject_of


def read_map(path: Path) -> dict[str, str]:
    """The pairs `old user,new user` of a CSV file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not a UTF-8 text file.") from None
    if any(len(row) != 2 or not all(part.strip() for part in row) for row in rows):
        raise RequestError(f"Every line of {path} must be: old user,new user")
    return dict(row for row in rows)
