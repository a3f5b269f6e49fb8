"""The tables of refused upgrades and closes: every number has a row, every row a counter."""

from __future__ import annotations

from kite_hft.layout import COUNTERS
from kite_hft.net.ws_codes import CLOSES, HANDSHAKES, Act, close_meaning, handshake_meaning


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


def test_only_a_refused_token_stops_the_tries() -> None:
    assert {status for status in range(700) if handshake_meaning(status).act is Act.TOKEN_DEAD} == {401, 403}


def test_what_retries_soon_and_what_waits() -> None:
    assert handshake_meaning(429).act is handshake_meaning(400).act is Act.WAIT_LONG
    assert handshake_meaning(503).act is handshake_meaning(0).act is Act.RETRY
    assert handshake_meaning(403).counter == "refused_403"
    assert handshake_meaning(429).counter == "refused_429"
    assert {HANDSHAKES[s].counter for s in (400, 401, 404)} == {"refused_other"}
    assert CLOSES[1006].counter == CLOSES[1015].counter == "closes_abrupt"
    assert close_meaning(4000).act is CLOSES[1008].act is CLOSES[1013].act is Act.WAIT_LONG
