"""Languages: which one a request gets, how sentences are filled in, and which faults a team's table may have."""

import json
from pathlib import Path
from typing import Any

import pytest

from lambda_src.dev import first_start
from lambda_src.errors import QuotaError, SettingsError
from lambda_src.languages import ENGLISH, SHIPPED, Languages, Sentence
from lambda_src.quotas.turn_quota import in_words


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder for a team's tables."""
    return tmp_path / "languages"


def write(folder: Path, code: str, table: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{code}.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize(
    ("wishes", "chosen"),
    [
        ((None,), "en"),
        (("de",), "de"),
        (("de-CH,de;q=0.9,en;q=0.8",), "de"),
        (("pt,fr;q=0.5",), "fr"),
        (("en;q=0.3,ja;q=0.9",), "ja"),
        (("en-GB;q=0.9, de;q=0.9",), "en"),
        (("de;q=0,es",), "es"),
        (("tlh",), "en"),
        (("*",), "en"),
        (("de;q=high,,;;",), "en"),
        (("x" * 5000,), "en"),
        (("FR",), "fr"),
        (("ja", "de"), "ja"),
        (("tlh", "de"), "de"),
    ],
)
def test_the_first_offered_language_that_is_wanted_is_chosen(wishes: tuple[str | None, ...], chosen: str) -> None:
    assert Languages().best(*wishes).code == chosen


def test_the_first_offered_language_is_for_users_who_read_none() -> None:
    assert Languages(["fr", "en"]).best("de").code == "fr"


def test_a_language_without_its_region_gets_a_regional_table(own: Path) -> None:
    write(own, "pt-BR", {"name": "Português"})
    languages = Languages(folders=(SHIPPED, own))
    assert [languages.best(wish).code for wish in ("pt", "pt-PT", "pt-BR")] == ["pt-BR"] * 3


def test_a_language_without_a_table_is_refused() -> None:
    with pytest.raises(SettingsError, match="There is no language tlh: there are de, en, es, fr, ja"):
        Languages(["en", "tlh"])


def test_a_sentence_is_english_text_that_other_languages_fill_in() -> None:
    sentence = Sentence("You have reached the limit of messages per minute. Continue {when}.", when=in_words(40))
    assert sentence == "You have reached the limit of messages per minute. Continue in 40 seconds."
    assert Languages().get("de").text(sentence) == (
        "Du hast die Höchstzahl an Nachrichten pro Minute erreicht. Weiter geht es in 40 Sekunden."
    )


def test_numbers_are_grouped_as_the_language_groups_them() -> None:
    sentence = Sentence("This file is too large: the limit is {most} bytes.", most=20_000_000)
    assert "20,000,000" in sentence
    assert "20.000.000" in Languages().get("de").text(sentence)
    assert "20\u202f000\u202f000" in Languages().get("fr").text(sentence)


def test_a_value_is_not_translated_or_filled_in_again() -> None:
    sentence = Sentence("The file {name} was refused.", name="{most} This file is empty.")
    assert Languages().get("de").text(sentence) == "Die Datei {most} This file is empty. wurde abgelehnt."


def test_a_sentence_of_agent_code_is_unchanged() -> None:
    assert Languages().get("de").text("Write to us instead.") == "Write to us instead."
    assert Languages().get("de").text_of(QuotaError("{not a placeholder}", limit="a", retry_after_s=1)) == (
        "{not a placeholder}"
    )
    assert ENGLISH.text_of(KeyError()) == ""


def test_a_teams_table_adds_a_language_and_the_rest_is_english(own: Path) -> None:
    write(own, "pt", {"name": "Português", "page": {"send": "Enviar"}, "server": {"This file is empty.": "Vazio."}})
    languages = Languages(folders=(SHIPPED, own))
    portuguese = languages.best("pt")
    assert languages.names()["pt"] == "Português"
    assert portuguese.page == {"send": "Enviar"}
    assert [portuguese.text(text) for text in ("This file is empty.", "This form")] == ["Vazio.", "This form"]


def test_a_teams_table_replaces_single_texts_of_a_shipped_language(own: Path) -> None:
    write(own, "de", {"page": {"send": "Abschicken"}})
    write(own, "en", {"page": {"greeting": "Hi!"}})
    languages = Languages(folders=(SHIPPED, own))
    german = languages.get("de")
    assert (german.name, german.page["send"], german.page["stop"]) == ("Deutsch", "Abschicken", "Anhalten")
    assert languages.get("en").page == {"greeting": "Hi!"}


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ([], "languages/pt.json must be a JSON object with name, page and server."),
        ({"page": {}}, "languages/pt.json needs a name: the language's own, such as Português."),
        ({"name": "P", "pages": {}}, "has no field 'pages'; the fields are name, direction, thousands, page, server."),
        ({"name": "P", "direction": "up"}, "must have the direction ltr or rtl, and has 'up'."),
        ({"name": "P", "page": []}, "must have an object as page."),
        ({"name": "P", "page": {"sned": "x"}}, "has an unknown text in page: 'sned'. Did you mean 'send'?"),
        ({"name": "P", "page": {"send": 1}}, "must have a text or an object of plural forms with other for 'send'."),
        ({"name": "P", "page": {"last_days": {"one": "x"}}}, "plural forms with other for 'last_days'."),
        (
            {"name": "P", "page": {"delete_chat": "{titel}"}},
            "uses {titel} in 'delete_chat', which has the placeholders",
        ),
        ({"name": "P", "server": {"This file is emptied.": "x"}}, "Did you mean 'This file is empty.'?"),
        ({"name": "P", "server": {"This form": {"other": "x"}}}, "must have a text for 'This form'."),
        ({"name": "P", "server": {"This form": "{x}"}}, "uses {x} in 'This form', which has the placeholders none."),
    ],
)
def test_a_fault_of_a_teams_table_is_a_sentence(table: Any, fault: str, own: Path) -> None:
    write(own, "pt", table)
    with pytest.raises(SettingsError) as refused:
        Languages(folders=(SHIPPED, own))
    assert fault in str(refused.value)


def test_a_deployment_with_a_faulty_table_is_refused(own: Path) -> None:
    write(own, "pt", {"name": "Português", "page": {"sned": "x"}})
    variables = {"CHAT_STORE": "memory", "CHAT_GUEST_SECRET": "arn:x"}
    (fault,) = first_start.faults(variables, {"CHAT_PAGE": "page"}, languages=(SHIPPED, own))
    assert fault["option"] == "page.languages"
    assert fault["problem"] == "is wrong: languages/pt.json has an unknown text in page: 'sned'. Did you mean 'send'?"
    (own / "pt.json").unlink()
    assert first_start.faults(variables, {}, languages=(SHIPPED, own)) == []


def test_a_table_that_is_not_json_or_not_named_after_a_language_is_refused(own: Path) -> None:
    own.mkdir()
    (own / "pt.json").write_text("{")
    (own / "my texts.json").write_text('{"name": "Mine"}')
    with pytest.raises(SettingsError) as refused:
        Languages(folders=(SHIPPED, own))
    assert "languages/pt.json is not JSON" in str(refused.value)
    assert "languages/my texts.json must be named after a language tag" in str(refused.value)
