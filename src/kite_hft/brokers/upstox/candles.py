"""Layer 2, metadata job, cold: Upstox's daily candles, V3.

GET /v3/historical-candle/{key}/days/1/{to}/{from}, both ends in it, newest first, of days that are over;
the day under way comes from /v3/historical-candle/intraday/{key}/days/1. Of expired contracts there are
none here. How many days one request may span, and how many requests a second, stands in the rules file.
"""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

from kite_hft.brokers.candles import days_of
from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.doors import refusal_words
from kite_hft.brokers.upstox.keys import key_of
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.history import Array
from kite_hft.trading.instruments import Instrument

PATH = "/v3/historical-candle"


def days(row: Instrument, first: dt.date, last: dt.date) -> HttpRequest:
    """The candles of first to last, both in it.

    Raises:
        ValueError: an instrument that has no key there.
    """
    return HttpRequest("GET", f"{PATH}/{quote(key_of(row), safe='')}/days/1/{last}/{first}")


def today(row: Instrument) -> HttpRequest:
    """The candle of the day under way.

    Raises:
        ValueError: an instrument that has no key there.
    """
    return HttpRequest("GET", f"{PATH}/intraday/{quote(key_of(row), safe='')}/days/1")


def parse(body: bytes) -> Array:
    """DAY[n], oldest first.

    Raises:
        AnswerError: no readable answer.
    """
    return days_of(data_of(body))


def refusal(body: bytes) -> str:
    """What the broker says with a refusal, in his words; "" for anything but his JSON."""
    return refusal_words(0, body)
