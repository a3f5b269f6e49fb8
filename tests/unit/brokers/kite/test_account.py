"""Funds: every view as the broker prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.brokers.kite.account import parse_funds
from kite_hft.brokers.kite.answers import AnswerError
from kite_hft.trading.broker import Funds


def body(**segment: object) -> bytes:
    return json.dumps({"status": "success", "data": {"equity": segment}}).encode()


def test_views_are_told_apart_and_nothing_is_rebuilt() -> None:
    available = {"cash": 100.0, "live_balance": 70.5, "opening_balance": 90.25, "collateral": 40}
    found = parse_funds(body(net=110.5, available=available, utilised={"debits": 29.5}))
    assert found == Funds(11_050, 10_000, 7_050, 9_025, 4_000, 2_950)


def test_net_may_be_below_zero_and_the_other_views_missing() -> None:
    assert parse_funds(body(net=-12.34)) == Funds(-1_234, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("commodity", "free"),
    [
        (None, 10_000), ({"enabled": True, "net": 5.5}, 550), ({"enabled": False, "net": 5.5}, 0),
        ({"enabled": True}, 0), ([], 0), ({"net": -1}, -100),
    ],
)  # fmt: skip
def test_commodities_are_paid_for_by_their_own_segment(commodity: object, free: int) -> None:
    data = {"equity": {"net": 100}} | ({"commodity": commodity} if commodity is not None else {})
    found = parse_funds(json.dumps({"status": "success", "data": data}).encode())
    assert found.free_paise("MCX") == found.free_paise("NCO") == free
    assert found.free_paise("NSE") == found.free_paise("CDS") == found.net_paise == 10_000


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{}", body(), body(net="x"), body(net=1, available=[1]),
        b'{"status":"success","data":{"equity":{"net":1e999}}}', b'{"status":"success","data":[]}',
        b'{"status":"error","data":{"equity":{"net":1}}}',
    ],
)  # fmt: skip
def test_what_has_no_readable_net_is_no_answer(wrong: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_funds(wrong)


@pytest.mark.data
def test_the_official_sample(data_dir: Path) -> None:
    found = parse_funds((data_dir / "kite" / "margins.json").read_bytes())
    assert found == Funds(9_972_505, 24_543_160, 9_972_505, 24_543_160, 0, 14_570_655, 10_066_170)
    assert found.free_paise("NFO") == 9_972_505 and found.free_paise("MCX") == 10_066_170
