"""Subscription messages, text frames, and the official client's dicts."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft.brokers.kite import wire


def test_messages() -> None:
    tokens = np.array([408065, 884737], np.uint32)
    assert wire.subscribe_message(tokens) == b'{"a":"subscribe","v":[408065,884737]}'
    assert wire.unsubscribe_message([408065]) == b'{"a":"unsubscribe","v":[408065]}'
    assert wire.mode_message("full", (408065,)) == b'{"a":"mode","v":["full",[408065]]}'


@pytest.mark.parametrize("tokens", [["408065"], [1.0], [-1], [2**32], []])
def test_messages_refuse_what_the_server_would_ignore(tokens: list[Any]) -> None:
    for make in (wire.subscribe_message, wire.unsubscribe_message, lambda t: wire.mode_message("ltp", t)):
        with pytest.raises((TypeError, ValueError)):
            make(tokens)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="one of ltp, quote, full"):
        wire.mode_message("depth", [1])


def test_segments_and_divisors() -> None:
    divisors = {s: wire.divisor_of(1000 << 8 | s) for s in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 200)}
    others = dict.fromkeys((1, 2, 4, 5, 7, 8, 9, 200), 100)
    assert divisors == {3: 10_000_000, 6: 10_000, 12: 10_000, **others}
    assert wire.segment_of(256265) == 9


def test_parse_text() -> None:
    assert wire.parse_text(b'{"type":"order","data":{"order_id":"1"}}') == ("order", {"order_id": "1"})
    assert wire.parse_text(b'{"type":"error","data":"too many"}') == ("error", "too many")
    assert wire.parse_text('{"type":"message","data":"₹"}'.encode()) == ("message", "₹")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"1",
        b"{}",
        b'{"type":"order"}',
        b'{"type":"order","data":[]}',
        b'{"type":"order","data":{}}',
        b'{"type":"error","data":{}}',
        b'{"type":"message"}',
        b'{"type":"tick","data":"x"}',
        b'{"type":["order"],"data":{"a":1}}',
        b'{"type":"order","data":{"quantity":NaN}}',
        b'{"type":"order","data":{"price":-Infinity}}',
        b"[" * 100_000,
    ],
)
def test_parse_text_refuses(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_text(text)


def test_errors_do_not_repeat_the_frame() -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.parse_text(b'{"type":"order","data":"s3cret"')
    assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


def decode_one(packet: bytes) -> Any:
    (token,) = struct.unpack(">I", packet[:4])
    decoder = KiteDecoder(np.array([token], np.uint32), np.array([0], np.uint32))
    (tick,) = decoder.decode_frame(struct.pack(">2H", 1, len(packet)) + packet)
    return tick


def test_times_are_naive_local_or_aware() -> None:
    tick = decode_one(struct.pack(">8I", 265, *[1] * 6, 1_700_000_000))
    local = wire.tick_dict(tick, 265)["exchange_timestamp"]
    assert local == datetime.fromtimestamp(1_700_000_000) and local.tzinfo is None
    ist = wire.tick_dict(tick, 265, timezone(timedelta(hours=5, minutes=30)))["exchange_timestamp"]
    assert ist == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC) and ist.hour == 3


def test_dict_holds_python_numbers() -> None:
    """json.dumps refuses numpy scalars; so would many a user's code."""
    tick = decode_one(struct.pack(">16I" + "2I2H" * 10, 408065, *[7] * 15, *[1, 2, 3, 4] * 10))
    result = wire.tick_dict(tick, np.uint32(408065))  # type: ignore[arg-type]
    json.dumps(result, default=lambda value: value.isoformat())
    assert result["change"] == 0 and type(result["instrument_token"]) is int


def epoch_free(value: Any) -> Any:
    """expected.json writes times as {naive_local (of UTC), epoch}."""
    if isinstance(value, dict) and value.keys() == {"naive_local", "epoch"}:
        return datetime.fromtimestamp(value["epoch"], UTC)
    if isinstance(value, dict):
        return {key: epoch_free(inner) for key, inner in value.items()}
    return [epoch_free(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.data
def test_dicts_of_the_recorded_vectors(data_dir: Path) -> None:
    frames = json.loads((data_dir / "kite" / "expected.json").read_text())["frames"]
    compared = 0
    for entry in frames.values():
        ticks = entry.get("ticks") or []
        tokens = np.unique(np.array([t["instrument_token"] for t in ticks], np.uint32))
        decoder = KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32))
        decoded = decoder.decode_frame(bytes.fromhex(entry["frame_hex"]))
        if "error" not in entry:
            ours = [wire.tick_dict(tick, int(tokens[tick["slot"]]), UTC) for tick in decoded]
            assert ours == epoch_free(ticks)
            compared += len(ours)
    assert compared == 18


@pytest.mark.data
@pytest.mark.parametrize("mode", ["quote", "full"])
def test_official_mocks(data_dir: Path, mode: str) -> None:
    """The broker's own expected values: other names, and `change` is unusable there."""
    body = next(
        bytes.fromhex(entry["body_hex"])
        for name, entry in json.loads((data_dir / "kite" / "expected.json").read_text())["frames"].items()
        if name == f"ticker_{mode}.packet"
    )
    mock = json.loads((data_dir / "kite" / f"ticker_{mode}.json").read_text())
    ours = wire.tick_dict(decode_one(body), 408065)
    assert ours["last_price"] == mock["last_price"] and ours["ohlc"] == mock["ohlc"]
    assert ours["volume_traded"] == mock["volume"] and ours["average_traded_price"] == mock["average_price"]
    if mode == "full":
        assert ours["depth"] == mock["depth"]
