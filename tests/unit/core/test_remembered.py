"""What is remembered of uploads: the newest, within bounds (contract.md §9)."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from service.core.group.work_files import FoundFile
from service.core.media.remembered import Remembered, Seen, content_of
from tests.support.file_source import sha256_of

BOOT = content_of(sha256_of("boot"), "jpg")
SHOE = content_of(sha256_of("shoe"), "jpg")
URL = "https://cdn.example/boot.jpg"


def test_what_a_url_led_to_is_known_only_while_the_pim_has_it() -> None:
    made = Remembered(10)
    made.note_seen(URL, '"1"', BOOT)
    assert made.seen(URL, "jpg") is None
    made.note_code(BOOT, "code")
    assert made.seen(URL, "jpg") == Seen('"1"', BOOT)
    assert made.find(BOOT, 7) == FoundFile("code", BOOT, 7, is_remembered=True)


def test_a_content_is_another_file_under_another_extension() -> None:
    """The PIM accepts files by their extension, so a code is used for one extension only."""
    made = Remembered(10)
    made.note_seen(URL, '"1"', BOOT)
    made.note_code(BOOT, "code")
    assert made.seen(URL, "png") is None
    assert made.find(content_of(sha256_of("boot"), "png")) is None


def test_without_an_etag_nobody_can_ask_whether_a_file_has_changed() -> None:
    made = Remembered(10)
    made.note_code(BOOT, "code")
    for etag in (None, "x" * 201):
        made.note_seen(URL, '"1"', BOOT)
        made.note_seen(URL, etag, SHOE)
        assert made.seen(URL, "jpg") is None


def test_a_refused_code_is_forgotten_unless_it_was_replaced() -> None:
    made = Remembered(10)
    made.note_code(BOOT, "new")
    made.forget(FoundFile("old", BOOT, None, is_remembered=True))
    assert made.find(BOOT) is not None
    made.forget(FoundFile("new", BOOT, None, is_remembered=True))
    assert made.find(BOOT) is None


def test_a_code_that_is_too_long_is_not_remembered() -> None:
    made = Remembered(10)
    made.note_code(BOOT, "x" * 301)
    assert made.find(BOOT) is None


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 5))
def test_the_last_used_are_kept(uses: list[int], most: int) -> None:
    """As many as may be."""
    made = Remembered(most)
    last: list[int] = []
    for number in uses:
        content = content_of(sha256_of(str(number)), "jpg")
        assert (made.find(content) is not None) == (number in last[-most:])
        made.note_code(content, str(number))
        last = [other for other in last if other != number] + [number]
    assert len(made) <= most


def test_an_upload_takes_less_than_two_kibibytes() -> None:
    """Whatever its URL: of that only a digest is kept."""
    made = Remembered(1_000)
    tracemalloc.start()
    for number in range(2_000):
        content = content_of(sha256_of(str(number)), "x" * 10)
        made.note_seen("x" * 8_000 + str(number), f"{number:0200}", content)
        made.note_code(content, f"{number:0300}")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(made) == 1_000
    assert taken < 1_000 * 2 * 1024
