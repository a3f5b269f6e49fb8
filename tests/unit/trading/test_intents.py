"""Tags are unique, fit the broker and know their order; intents keep their fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import intent_row, limits

from kite_hft.trading.intents import Intent, Tags, base36, intents_of

RUNS = st.integers(0, 36**4 - 1)
NUMBERS = st.integers(0, 36**11 - 1)


@given(RUNS, NUMBERS)
def test_a_tag_fits_and_tells_its_order(run: int, number: int) -> None:
    tags = Tags("k1z", run)
    tag = tags.tag(number)
    assert len(tag) == 20 <= limits().tag_length_max and tag.isalnum() and tag == tag.lower()
    assert tags.order_no(tag) == number
    assert Tags("k1z", (run + 1) % 36**4).order_no(tag) is None
    assert Tags("k1z", (run + 1) % 36**4).of_install(tag)
    assert not Tags("k1y", run).of_install(tag)


@given(NUMBERS, st.integers(0, 19), st.sampled_from("0123456789abcdefghijklmnopqrstuvwxyz"))
def test_one_wrong_character_is_seen(number: int, at: int, other: str) -> None:
    tags = Tags("abc", 5)
    tag = tags.tag(number)
    wrong = tag[:at] + other + tag[at + 1 :]
    assert tags.of_install(wrong) == (wrong == tag)


@pytest.mark.parametrize(
    "tag", ["", "abc", "mktp", "abc0005" + "0" * 13, "ABC" + "0" * 17, "abc-" + "0" * 16]
)
def test_words_of_others_are_not_ours(tag: str) -> None:
    assert not Tags("abc", 5).of_install(tag)


def test_bad_prefix_and_overflow() -> None:
    for install in ("", "ab", "ABC", "a-c"):
        with pytest.raises(ValueError, match="install prefix"):
            Tags(install, 1)
    with pytest.raises(ValueError, match="does not fit"):
        Tags("abc", 36**4)
    assert base36(35, 2) == "0z"


def test_intents_keep_their_fields() -> None:
    row = intent_row(3, deadline_ns=-5, signal=1.5, trigger_px=-7, flags=1)
    found = intents_of(row.tobytes(), 1)[0]
    for name in Intent._fields:
        if not name.startswith("reserved"):
            assert getattr(found, name) == row[name][0], name
            assert type(getattr(found, name)) in (int, float)
