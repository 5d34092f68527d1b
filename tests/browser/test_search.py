"""The node search finds the pack, beside ComfyUI's own nodes, by the words that people type."""

import pytest
from playwright.sync_api import expect

# Each word with what one looks for, any of them, and among how many results it stands.
DANCE = {"Poses From Video", "Dance Poses from Video", "SteadyDancer", "SteadyDancer Sampler (any length)"}
WORDS = {
    **dict.fromkeys(("dance", "dancing", "animate", "motion transfer", "character animation"), (DANCE, 3)),
    **dict.fromkeys(("animate anyone", "pose transfer", "tiktok"), (DANCE, 3)),
    "steadydancer": ({"SteadyDancer"}, 3),
    "image to video": ({"Image to Video (SteadyDancer)"}, 10),
    "stabilize": ({"Refine Poses"}, 3),
    "trim video": ({"Trim Video", "Trim Lead-in"}, 3),
    "scale pose": ({"Align Poses"}, 3),
    "60 fps": ({"Change Frame Rate", "Finish"}, 3),
    "video combine": ({"Video Combine", "Video Combine (SteadyDancer)"}, 3),
    **dict.fromkeys(("\u821e\u8e48", "\u52a8\u4f5c\u8fc1\u79fb"), (DANCE, 3)),
    "\u9aa8\u67b6": ({"Poses From Video", "Draw Poses"}, 3),
    "\u89c6\u9891\u5408\u6210": ({"Video Combine", "Video Combine (SteadyDancer)"}, 3),
}
NOTHING = "qqzzxx"
FOUND = "() => [...document.querySelectorAll('[role=option]')].map(option => option.innerText.split('\\n')[0].trim())"


@pytest.fixture(scope="module")
def search(shared_page):
    """Return a function that types a word into the search that opens by a double click on the canvas."""
    shared_page.get_by_label("Create a new blank workflow").click()
    shared_page.mouse.dblclick(850, 500)
    expect(shared_page.get_by_role("option").first).to_be_visible()

    def type_word(word: str) -> None:
        shared_page.keyboard.press("Control+A")
        shared_page.keyboard.insert_text(word)

    return type_word


@pytest.mark.parametrize("word", WORDS)
def test_what_one_needs_is_among_the_first(shared_page, search, word):
    wanted, first = WORDS[word]
    search(NOTHING)
    expect(shared_page.get_by_role("option")).to_have_count(0)  # what is found next is found by the word
    search(word)
    shared_page.wait_for_function(
        f"([wanted, first]) => ({FOUND})().slice(0, first).some(name => wanted.includes(name))",
        arg=[sorted(wanted), first],
    )
