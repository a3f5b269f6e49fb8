"""Layer 2, metadata job, cold: Kite's daily candles.

GET /instruments/historical/{token}/day?from=..&to=..&oi=1, both ends in it, oldest first, the day under
way with its last price so far. Of expired contracts there are none. How many days one request may span, and
how many requests a second, stands in the rules file.
"""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode

from kite_hft.brokers.candles import days_of
from kite_hft.brokers.kite.answers import data_of
from kite_hft.brokers.values import envelope_of
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.history import Array
from kite_hft.trading.instruments import Instrument


def days(row: Instrument, first: dt.date, last: dt.date) -> HttpRequest:
    """The candles of first to last, both in it."""
    query = urlencode({"from": f"{first} 00:00:00", "to": f"{last} 23:59:59", "oi": "1"})
    return HttpRequest("GET", f"/instruments/historical/{row.token}/day?{query}")


def parse(body: bytes) -> Array:
    """DAY[n], oldest first.

    Raises:
        AnswerError: no readable answer.
    """
    return days_of(data_of(body))


def refusal(body: bytes) -> str:
    """What the broker says with a refusal, in his words; "" for anything but his JSON."""
    envelope = envelope_of(body)
    words = [str(envelope[key]) for key in ("error_type", "message") if envelope.get(key)]
    text = ": ".join(words)[:200]
    return text if text.isprintable() else ""
