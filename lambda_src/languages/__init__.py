"""Languages of the page and of the server's sentences: one JSON table per language.

A table has the language's `name`, its `direction` if that is "rtl", `page` (the page's texts by key, web/src/texts.js)
and `server` (the server's sentences by their English text). This folder has the shipped tables. Those of
lambda_src/agent/languages/ add languages and replace single texts. A text that a table lacks is English. Knows no HTTP.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lambda_src.errors import SettingsError

SHIPPED = Path(__file__).parent
OWN = SHIPPED.parent / "agent" / "languages"
FOLDERS = (SHIPPED, OWN)
MAX_WISHES = 20  # languages of one Accept-Language header that are considered; browsers send up to ten

Text = str | Mapping[str, str]
"""A text of the page, or its plural forms by CLDR category ("one", "other")."""

_CODE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FIELDS = ("name", "direction", "thousands", "page", "server")
_PLURALS = ("zero", "one", "two", "few", "many", "other")


class Sentence(str):
    """An English sentence with values, such as `Sentence("Wait {count} seconds.", count=5)`.

    Other languages fill the same values into their own sentence. A value may be a Sentence itself.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> "Sentence":
        """The sentence in English."""
        sentence = super().__new__(cls, _filled(template, values, ENGLISH))
        sentence.template, sentence.values = template, values
        return sentence


def _no_texts() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Language:
    """One language and its own texts: `page` and `server` may lack some, which are English then."""

    code: str
    name: str
    direction: str = "ltr"
    thousands: str = ","  # between groups of three digits
    page: Mapping[str, Text] = field(default_factory=_no_texts, repr=False)
    server: Mapping[str, str] = field(default_factory=_no_texts, repr=False)

    def text(self, sentence: str) -> str:
        """`sentence` in this language; unchanged if there is no translation, as for texts from agent/."""
        if isinstance(sentence, Sentence):
            return _filled(self.server.get(sentence.template, sentence.template), sentence.values, self)
        return self.server.get(sentence, sentence)

    def text_of(self, error: Exception) -> str:
        """The sentence of an error in this language."""
        match error.args:
            case (str(sentence), *_):
                return self.text(sentence)
            case _:
                return str(error)


ENGLISH = Language("en", "English")


def _filled(template: str, values: Mapping[str, object], language: Language) -> str:
    def shown(match: re.Match[str]) -> str:
        value = values[match[1]]
        if isinstance(value, int):
            return f"{value:,}".replace(",", language.thousands)
        return language.text(value) if isinstance(value, str) else str(value)

    return _PLACEHOLDER.sub(shown, template)


class Languages:
    """The languages of a stage, from the tables in `folders`: a later folder adds to the tables of earlier ones.

    `offered` are the codes that the stage offers, the first for users who want none of them; empty: all, English
    first. Tables are read when they are needed. SettingsError: an offered language has no table, or a table outside
    this folder has a fault.
    """

    def __init__(self, offered: Sequence[str] = (), folders: Sequence[Path] = (SHIPPED,)) -> None:
        self._files: dict[str, list[Path]] = {}
        for folder in folders:
            for file in sorted(folder.glob("*.json")):
                self._files.setdefault(file.stem, []).append(file)
        faults = [fault for folder in folders if folder != SHIPPED for fault in table_faults(folder)]
        known = ", ".join(sorted(self._files))
        faults += [f"There is no language {code}: there are {known}." for code in offered if code not in self._files]
        if faults:
            raise SettingsError(faults)
        self.codes = tuple(offered) or ("en", *(code for code in sorted(self._files) if code != "en"))
        self._loaded: dict[str, Language] = {}
        self._english: Mapping[str, Text] | None = None

    def get(self, code: str) -> Language:
        """The language with this code, which must be in `codes`."""
        if code == "en" and self._files[code] == [SHIPPED / "en.json"]:
            return ENGLISH  # without reading its table, which has nothing else
        if code not in self._loaded:
            tables = [json.loads(file.read_text(encoding="utf-8")) for file in self._files[code]]
            self._loaded[code] = _merged(code, tables)
        return self._loaded[code]

    def best(self, *wishes: str | None) -> Language:
        """The first offered language among `wishes`, each a code or an Accept-Language header; else the first one."""
        for wish in wishes:
            for tag in _tags(wish or ""):
                if (code := self._match(tag)) is not None:
                    return self.get(code)
        return self.get(self.codes[0])

    def _match(self, tag: str) -> str | None:
        """The offered code for a tag: de-CH gets de, and pt gets pt-BR if there is no pt."""
        offered = {code.lower(): code for code in self.codes}
        parts = tag.lower().split("-")
        for length in range(len(parts), 0, -1):
            if (code := offered.get("-".join(parts[:length]))) is not None:
                return code
        return next((code for lower, code in offered.items() if lower.split("-")[0] == parts[0]), None)

    def page_texts(self, language: Language) -> dict[str, Text]:
        """All texts of the page, in English where the language has none."""
        return {**self.english(), **language.page}

    def english(self) -> Mapping[str, Text]:
        """The shipped English texts of the page, which are also in its HTML."""
        if self._english is None:
            self._english = json.loads((SHIPPED / "en.json").read_text(encoding="utf-8"))["page"]
        return self._english

    def names(self) -> dict[str, str]:
        """The languages' own names by code."""
        return {code: self.get(code).name for code in self.codes}


def _merged(code: str, tables: Sequence[Mapping[str, Any]]) -> Language:
    page: dict[str, Text] = {}
    server: dict[str, str] = {}
    for number, table in enumerate(tables):
        if code != "en" or number > 0:  # the shipped English is in `english` and in the code
            page |= table.get("page", {})
            server |= table.get("server", {})
    found = {name: table[name] for table in tables for name in ("name", "direction", "thousands") if name in table}
    return Language(code, page=page, server=server, **found)


def _tags(header: str) -> list[str]:
    """The language tags of an Accept-Language header (RFC 9110, 12.5.4), the most wanted first."""
    wanted: list[tuple[float, str]] = []
    for part in header.split(",")[:MAX_WISHES]:
        tag, _, weight = part.partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight or "q=1")
        share = float(quality[1]) if quality else 0.0
        if _CODE.fullmatch(tag.strip()) and share > 0:
            wanted.append((share, tag.strip()))
    return [tag for _, tag in sorted(wanted, key=lambda pair: -pair[0])]


def table_faults(folder: Path) -> list[str]:
    """Every fault of the tables in `folder`: wrong shapes, and keys, sentences and placeholders that English lacks."""
    files = sorted(folder.glob("*.json"))
    if not files:
        return []
    english = json.loads((SHIPPED / "en.json").read_text(encoding="utf-8"))
    return [f"{folder.name}/{file.name} {fault}" for file in files for fault in _faults(file, english)]


def _faults(file: Path, english: Mapping[str, Any]) -> Iterator[str]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as fault:
        yield f"is not JSON: {fault}."
        return
    if not isinstance(table, dict):
        yield "must be a JSON object with name, page and server."
        return
    if not _CODE.fullmatch(file.stem):
        yield "must be named after a language tag, such as pt.json or pt-BR.json."
    yield from (f"has no field {name!r}; the fields are {', '.join(_FIELDS)}." for name in table if name not in _FIELDS)
    if not isinstance(table.get("name", ""), str) or ("name" not in table and not (SHIPPED / file.name).is_file()):
        yield "needs a name: the language's own, such as Português."
    if table.get("direction", "ltr") not in ("ltr", "rtl"):
        yield f"must have the direction ltr or rtl, and has {table['direction']!r}."
    for part in ("page", "server"):
        texts = table.get(part, {})
        if not isinstance(texts, dict):
            yield f"must have an object as {part}."
            continue
        for key, text in texts.items():
            yield from _text_faults(part, key, text, english[part])


def _text_faults(part: str, key: str, text: object, english: Mapping[str, Text]) -> Iterator[str]:
    if key not in english:
        close = difflib.get_close_matches(key, english, n=1)
        yield f"has an unknown text in {part}: {key!r}." + (f" Did you mean {close[0]!r}?" if close else "")
        return
    forms = _forms(text) if part == "page" else {"other": text}
    if not all(isinstance(form, str) for form in forms.values()) or "other" not in forms or set(forms) - set(_PLURALS):
        shape = "a text or an object of plural forms with other" if part == "page" else "a text"
        yield f"must have {shape} for {key!r}."
        return
    allowed = {name for form in _forms(english[key]).values() for name in _PLACEHOLDER.findall(str(form))}
    used = {name for form in forms.values() for name in _PLACEHOLDER.findall(str(form))}
    if wrong := sorted(used - allowed):
        known = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "none"
        yield f"uses {{{wrong[0]}}} in {key!r}, which has the placeholders {known}."


def _forms(text: object) -> Mapping[str, object]:
    """The plural forms of a text; one that has none is its only form."""
    return text if isinstance(text, Mapping) else {"other": text}
