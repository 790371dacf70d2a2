"""Dictation in our own client: recording, writing the words into the draft, and a microphone that cannot be used."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.web.chat_page import ChatPage, json_response
from tests.web.conftest import GUESTS, served

pytestmark = pytest.mark.xdist_group("browser")

TONE = """navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext();
  const tone = context.createOscillator();
  const microphone = context.createMediaStreamDestination();
  tone.connect(microphone);
  tone.start();
  window.tracks = microphone.stream.getTracks();
  return microphone.stream;
};"""
DENIED = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('No.', 'NotAllowedError'); };"


@pytest.fixture(scope="module")
def dictating() -> Iterator[str]:
    """A server that offers dictation."""
    with served({**GUESTS, "CHAT_DICTATION_MODEL": "gpt-transcribe"}) as url:
        yield url


def test_dictated_words_are_written_into_the_draft_and_the_microphone_is_released(tab: Page, dictating: str) -> None:
    tab.add_init_script(TONE)
    page = ChatPage(tab, dictating).open()
    page.text.fill("Please")
    page.button("Dictate").click()
    expect(page.hint).to_have_text("Recording. Press Dictate again to write it down.")
    expect(page.button("Dictate")).to_have_attribute("aria-pressed", "true")
    tab.wait_for_timeout(300)
    with tab.expect_request(lambda request: "input.transcribe" in (request.post_data or "")) as sent:
        page.button("Dictate").click()
    expect(page.text).to_have_value("Please answer my question.")
    expect(page.text).to_be_focused()
    expect(page.button("Dictate")).to_have_attribute("aria-pressed", "false")
    params = (sent.value.post_data_json or {})["params"]
    assert params["mime_type"] == "audio/webm"
    assert base64.b64decode(params["audio_base64"]).startswith(b"\x1a\x45\xdf\xa3")
    assert tab.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]


def test_a_microphone_that_cannot_be_used_is_explained(tab: Page, dictating: str) -> None:
    tab.add_init_script(DENIED)
    page = ChatPage(tab, dictating).open()
    page.button("Dictate").click()
    expect(page.hint).to_contain_text("The microphone cannot be used. Allow it")
    page.text.fill("typed instead")
    expect(page.hint).to_contain_text("Enter sends")


def test_a_recording_that_cannot_be_transcribed_keeps_the_draft(tab: Page, dictating: str) -> None:
    tab.add_init_script(TONE)
    page = ChatPage(tab, dictating).open()
    page.respond_with("input.transcribe", json_response({"error": "too_large", "message": "That was too long."}, 413))
    page.text.fill("draft")
    page.button("Dictate").click()
    expect(page.hint).to_contain_text("Recording")
    page.button("Dictate").click()
    expect(page.hint).to_have_text("That was too long.")
    expect(page.text).to_have_value("draft")


def test_without_dictation_there_is_no_microphone(guest: ChatPage) -> None:
    guest.open()
    expect(guest.button("Dictate")).to_have_count(0)
