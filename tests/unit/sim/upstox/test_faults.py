"""The faults in Upstox's words: what each damaged frame is to protobuf, and which request is which."""

from __future__ import annotations

import random

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from upstox_sim import frame_dict

from kite_hft.layout import TICK
from kite_hft.sim.faults.schedule import FAULTS, parse_row
from kite_hft.sim.server.stream import NO_TIMES, Frame
from kite_hft.sim.upstox import frames as f
from kite_hft.sim.upstox.answers import success
from kite_hft.sim.upstox.faults import UPSTOX_FAULTS, order_id, request_kind


def frame(n: int) -> Frame:
    rows = np.zeros(n, f.FEED)
    rows["ltp"], rows["ltt"], rows["levels"], rows["parts"] = 100.5, 1_765_771_373_160, 5, 15
    keys = f.key_cells([f"NSE_FO|{50_000 + i}" for i in range(n)])
    entries = f.encode_entries(rows, np.arange(n), np.full(n, f.FULL, np.uint8), keys)
    return Frame(0, f.frame(f.LIVE_FEED, entries, 1_765_771_373_160), np.zeros(n, TICK), NO_TIMES)


@pytest.mark.parametrize("seed", range(30))
def test_a_cut_frame_cannot_be_parsed(seed: int) -> None:
    row = parse_row({"at": 1, "kind": "truncate"}, "row")
    for n in (1, 7):
        made = frame(n)
        cut = UPSTOX_FAULTS.damage(row, made, random.Random(seed))
        assert len(cut.data) < len(made.data) and (len(cut.ticks), cut.spoiled) == (0, n)
        with pytest.raises(DecodeError):
            frame_dict(cut.data)


@pytest.mark.parametrize("seed", range(10))
def test_unknown_fields_change_nothing(seed: int) -> None:
    row = parse_row({"at": 1, "kind": "unknown_packet", "length": 300}, "row")
    made = frame(3)
    more = UPSTOX_FAULTS.damage(row, made, random.Random(seed))
    assert len(more.data) > len(made.data) + 300 and len(more.ticks) == 3
    assert frame_dict(more.data) == frame_dict(made.data)


def test_requests_by_path() -> None:
    kinds = {
        ("POST", "/v3/order/place"): "place", ("POST", "/v2/order/multi/place"): "place",
        ("PUT", "/v2/order/modify"): "modify", ("DELETE", "/v3/order/cancel"): "cancel",
        ("GET", "/v2/order/retrieve-all"): "read", ("POST", "/v2/charges/margin"): "other",
        ("DELETE", "/v3/order/gtt/cancel"): "other",
        ("GET", "/v3/feed/market-data-feed/authorize"): "authorize",
        ("GET", "/v2/feed/portfolio-stream-feed/authorize"): "authorize",
    }  # fmt: skip
    assert {key: request_kind(*key) for key in kinds} == kinds


def test_the_id_of_a_placement() -> None:
    assert order_id(success({"order_ids": ["1", "2"]})) == "1"
    assert order_id(success({"order_id": "3"})) == "3"
    assert order_id(success([{"correlation_id": "x", "order_id": "4"}])) == "4"
    assert order_id(success([])) is None and order_id(success(None)) is None
    assert order_id(UPSTOX_FAULTS.answers["http_429"]) is None


def test_every_fault_has_an_answer_or_a_reason_why_not() -> None:
    assert set(UPSTOX_FAULTS.missing) <= set(FAULTS)
    assert {kind for kind in FAULTS if kind.startswith("http_")} == set(UPSTOX_FAULTS.answers)
