"""Callbacks that fail: told once with all of it, then counted, and the next ones go on."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kite_hft.app.face import following
from kite_hft.app.face.following import TELL_EVERY_S, Follower, Told
from kite_hft.trading.instruments import Instrument, InstrumentTable


def test_a_callback_that_fails_for_every_tick_fills_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 100.0
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: now_s))
    told = Told()
    table = InstrumentTable((Instrument(0, 738561, 2885, "X", "NSE", "NSE", "EQ", 1, 1, multiplier=1),))
    follower = Follower(tmp_path, 0, table, np.zeros(1, np.bool_), told)

    def bad(value: int) -> None:
        raise ValueError(value) if value >= 0 else KeyError(value)

    with caplog.at_level(logging.WARNING):
        for n in range(1000):
            follower._call(bad, n)
        assert [record.exc_info is not None for record in caplog.records] == [True]
        follower._call(bad, -1)  # another cause
        assert [record.exc_info is not None for record in caplog.records] == [True, True]
        now_s += TELL_EVERY_S
        follower._call(bad, 1)
    assert "failed 1000 times more" in caplog.records[-1].getMessage() and len(caplog.records) == 3
    assert told.errors == 1002
