"""When the heartbeat stays out."""

from __future__ import annotations

import pytest

from kite_hft.engine.alerts.health import trouble_of


@pytest.mark.parametrize(
    ("state", "feeds", "in_session", "blind", "words"),
    [
        ("running", (), True, False, ""),
        ("ended", (), True, False, "the order process is ended"),
        ("starting", (), False, False, "the order process is starting"),
        ("running", ("feed-1", "feed-0"), True, False, "no market data from feed-0, feed-1"),
        ("running", ("feed-0",), False, False, ""),
        ("running", (), True, True, "nobody watches over the positions"),
    ],
)
def test_trouble(state: str, feeds: tuple[str, ...], in_session: bool, blind: bool, words: str) -> None:
    assert trouble_of(state, feeds, in_session=in_session, blind=blind) == words
