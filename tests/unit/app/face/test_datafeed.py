"""DataFeedService without an engine: what may be subscribed, and whose ticks the callbacks get."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kite_hft.app.face.datafeed import DataFeedService
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable

TABLE = InstrumentTable(
    tuple(
        Instrument(slot, token, token >> 8, name, "NSE", "NSE", "EQ", 1, 1, multiplier=1)
        for slot, (token, name) in enumerate([(738561, "RELIANCE"), (5633, "ACC"), (408065, "INFY")])
    )
)


@pytest.fixture
def feed() -> Any:
    return DataFeedService(settings=Settings())


def chosen(feed: Any) -> list[int]:
    """Slots whose ticks the callbacks get, of a run with these instruments."""
    if feed._live is None:
        feed._live = SimpleNamespace(table=TABLE, follower=SimpleNamespace(wanted=None))
        feed._choose(feed._live)
    found: list[int] = np.flatnonzero(feed._live.follower.wanted).tolist()
    return found


def test_without_a_subscription_callbacks_get_all_of_the_run(feed: Any) -> None:
    assert chosen(feed) == [0, 1, 2]


def test_without_the_last_instrument_callbacks_get_none(feed: Any) -> None:
    feed.subscribe([738561, "NSE:INFY"])
    assert chosen(feed) == [0, 2]
    feed.unsubscribe([738561])
    assert chosen(feed) == [2]
    with pytest.raises(InstrumentError):
        feed.unsubscribe(["NSE:NONE"])
    feed.unsubscribe([408065])  # the same by its token
    assert chosen(feed) == []


def test_before_the_start_an_instrument_is_taken_out_by_its_name(feed: Any) -> None:
    feed.subscribe([738561, "NSE:INFY"])
    feed.unsubscribe(["NSE:INFY"])
    assert chosen(feed) == [0]


@pytest.mark.parametrize("slip", ["NSE:INFY", b"NSE:INFY", 738561, None])
def test_one_instrument_is_no_list_of_them(feed: Any, slip: Any) -> None:
    for verb in (feed.subscribe, feed.unsubscribe):
        with pytest.raises(SettingsError, match="a list of instruments is expected, as"):
            verb(slip)
    assert chosen(feed) == [0, 1, 2]


@pytest.mark.parametrize("slip", [None, 5, "print"])
def test_what_cannot_be_called_is_no_callback(feed: Any, slip: Any) -> None:
    for add in (feed.add_tick_callback, feed.add_loss_callback):
        with pytest.raises(SettingsError, match="a function is expected"):
            add(slip)


def test_an_instrument_is_asked_for_by_any_number_and_refused_in_words(feed: Any) -> None:
    chosen(feed)
    assert feed.instrument(np.int64(5633)).symbol == feed.instrument("5633").symbol == "ACC"
    for slip in (None, float("nan")):
        with pytest.raises(InstrumentError, match="is not in today's list"):
            feed.get_latest_ticks(slip)


@pytest.mark.parametrize("name", ["api_key", "access_token"])
def test_a_key_that_is_no_text_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: text is expected, not int"):
        DataFeedService(settings=Settings(), **{name: 5})  # type: ignore[arg-type]
