"""The tables of refused upgrades and closes: every number has a row, every row a counter."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kite_hft.brokers.kite.wire import HANDSHAKES as KITE
from kite_hft.brokers.kite.wire import KITE_WORDS
from kite_hft.brokers.upstox.wire import HANDSHAKES as UPSTOX
from kite_hft.brokers.upstox.wire import PORTFOLIO_WORDS
from kite_hft.layout import COUNTERS
from kite_hft.net.ws_codes import CLOSES, HANDSHAKES, close_meaning, handshake_meaning
from kite_hft.trading.feed_words import Act, FeedWords, Meaning


def test_every_status_has_a_meaning_and_a_counter() -> None:
    for status in [0, *range(100, 700)]:
        meaning = handshake_meaning(status)
        assert meaning.text and meaning.counter in COUNTERS["feed"]
        assert meaning.counter.startswith("refused_")


def test_every_close_has_a_meaning_and_a_counter() -> None:
    for code in [*range(900, 1100), 3000, 4999, 5000, 65535]:
        meaning = close_meaning(code)
        assert meaning.text and meaning.counter in {"closes_by_peer", "closes_abrupt"}
        assert meaning.act is not Act.TOKEN_DEAD


@pytest.mark.parametrize(("own", "dead"), [({}, {401}), (KITE, {401, 403}), (UPSTOX, {401})])
def test_only_a_refused_token_stops_the_tries(own: Mapping[int, Meaning], dead: set[int]) -> None:
    """Upstox answers 403 for many reasons that pass: no death on that."""
    acts = {status: handshake_meaning(status, own).act for status in range(700)}
    assert {status for status, act in acts.items() if act is Act.TOKEN_DEAD} == dead


@pytest.mark.parametrize("words", [KITE_WORDS, PORTFOLIO_WORDS])
def test_a_brokers_own_rows_come_first_and_have_counters(words: FeedWords) -> None:
    for status, row in words.handshake_meaning.items():
        assert handshake_meaning(status, words.handshake_meaning) is row
        assert row.counter in COUNTERS["feed"] and row.counter.startswith("refused_") and row.text
    for code, row in words.close_meaning.items():
        assert close_meaning(code, words.close_meaning) is row
        assert row.counter in {"closes_by_peer", "closes_abrupt"} and row.act is not Act.TOKEN_DEAD
    assert close_meaning(1000, words.close_meaning).act is Act.RETRY  # never silently dead


def test_what_retries_soon_and_what_waits() -> None:
    assert handshake_meaning(429).act is handshake_meaning(400).act is Act.WAIT_LONG
    assert handshake_meaning(503).act is handshake_meaning(0).act is Act.RETRY
    assert handshake_meaning(403).counter == "refused_403"
    assert handshake_meaning(429).counter == "refused_429"
    assert {HANDSHAKES[s].counter for s in (400, 401, 404)} == {"refused_other"}
    assert CLOSES[1006].counter == CLOSES[1015].counter == "closes_abrupt"
    assert close_meaning(4000).act is CLOSES[1008].act is CLOSES[1013].act is Act.WAIT_LONG
