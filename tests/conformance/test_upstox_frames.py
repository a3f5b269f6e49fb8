"""Upstox frames as the official SDK makes and reads them: 26 samples, and the recorded day written anew."""

from __future__ import annotations

import importlib
import json
import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from reference.upstox_wire import SCHEMA, parse
from upstox_tools import assert_same, counted, make_decoder, make_twin

MESSAGE_TYPES = {"initial_feed": 0, "live_feed": 1, "market_info": 2}
MODES = {"ltpc": 0, "full_d5": 1, "option_greeks": 2, "full_d30": 3}
STATUSES = ("PRE_OPEN_START", "PRE_OPEN_END", "NORMAL_OPEN", "NORMAL_CLOSE", "CLOSING_START", "CLOSING_END")
EVERY = 10  # so many messages of the recorded day to one that is compared


@pytest.fixture(scope="module")
def sdk() -> Any:
    pytest.importorskip("upstox_client")
    return importlib.import_module("upstox_client.feeder.proto.MarketDataFeedV3_pb2")


@pytest.fixture(scope="module")
def samples(data_dir: Path) -> Path:
    folder = data_dir / "upstox" / "samples"
    if not folder.is_dir():
        pytest.skip(f"no sample frames at {folder}")
    return folder


def plain(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """What the twin parsed, in the shape of MessageToDict with default values left out."""
    told: dict[str, Any] = {}
    for name, what in SCHEMA[kind].values():
        if name not in found:
            continue
        value = found[name]
        if what.startswith("{"):
            inner = what[1:-1]
            told[name] = {k: STATUSES[v] if inner == "int" else plain(inner, v) for k, v in value.items()}
        elif what.startswith("["):
            told[name] = [plain(what[1:-1], one) for one in value]
        elif what == "DoubleValue":
            told[name] = value.get("value", 0.0)
        elif what in SCHEMA:
            told[name] = plain(what, value)
        elif name in ("type", "requestMode"):
            names = {n: word for word, n in (MESSAGE_TYPES if name == "type" else MODES).items()}
            told.update({name: names.get(value, value)} if value else {})
        elif value:
            told[name] = str(value) if what == "int" else value
    return {name: odd(value) if isinstance(value, float) else value for name, value in told.items()}


def odd(value: float) -> float | str:
    return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def without_minus_zero(value: Any) -> Any:
    """MessageToDict shows -0.0, which is no default to it; here it is 0 and left out."""
    if isinstance(value, dict):
        return {k: without_minus_zero(v) for k, v in value.items() if not (isinstance(v, float) and v == 0)}
    return [without_minus_zero(one) for one in value] if isinstance(value, list) else value


@pytest.mark.data
@pytest.mark.parametrize("portable", [False, True])
def test_the_26_sample_frames(samples: Path, sdk: Any, pb: ModuleType, portable: bool) -> None:
    files = sorted(samples.glob("[0-9]*.bin"))
    assert len(files) == 26
    to_dict = importlib.import_module("google.protobuf.json_format").MessageToDict
    for turn, path in enumerate(files):
        data = path.read_bytes()
        parsed = parse("FeedResponse", data)
        theirs = to_dict(sdk.FeedResponse.FromString(data))
        if "iep_zero" not in path.name:  # a wrapper with 0 is there, and is no default
            assert plain("FeedResponse", parsed) == without_minus_zero(theirs), path.name
        assert to_dict(pb.FeedResponse.FromString(data)) == theirs or "odd_numbers" in path.name
        keys = list(parsed.get("feeds", {}))
        decoder, twin = make_decoder(keys, portable=portable), make_twin(keys)
        ticks, aux = decoder.decode_both(data, turn)
        assert_same(ticks, aux, twin.frame(data), turn)
        assert counted(decoder) == {name: n for name, n in twin.counts.items() if n}, path.name


def put(message: Any, values: dict[str, Any]) -> None:
    """A dict of the recording into a message: integers are text there."""
    for name, value in values.items():
        if isinstance(value, dict):
            getattr(message, name).SetInParent()
            put(getattr(message, name), value)
        elif isinstance(value, list):
            for one in value:
                put(getattr(message, name).add(), one)
        else:
            setattr(message, name, int(value) if isinstance(value, str) and name != "interval" else value)


def recorded(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Instrument by instrument: its key and one message in EVERY, as recorded."""
    for path in sorted(folder.glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for number, line in enumerate(lines) if number % EVERY == 0]
        yield rows[0]["instrumentKey"], rows


@pytest.mark.data
def test_the_recorded_day_written_anew(data_dir: Path, pb: ModuleType, sdk: Any) -> None:
    """Each message as the SDK's dict had it is encoded by our .proto and decoded: nothing differs."""
    folder = data_dir / "upstox_v3_20251215"
    if not folder.is_dir():
        pytest.skip(f"no recorded day at {folder}")
    compared = 0
    for key, rows in recorded(folder):
        decoder, twin = make_decoder([key], tick_px=1), make_twin([key], tick_px=1)
        for turn, row in enumerate(rows):
            message = pb.FeedResponse(type=1, currentTs=1_765_771_373_160 + turn)
            put(message.feeds[key].fullFeed, row["fullFeed"])
            message.feeds[key].requestMode = MODES[row["requestMode"]]
            data = bytes(message.SerializeToString())
            assert sdk.FeedResponse.FromString(data).SerializeToString() == data
            ticks, aux = decoder.decode_both(data, turn)
            assert_same(ticks, aux, twin.frame(data), turn)
            ff, tick = row["fullFeed"]["marketFF"], ticks[0]
            assert tick["last_px"] == round(ff["ltpc"]["ltp"] * 100)
            assert tick["bid_qty"].tolist() == [
                int(q.get("bidQ", 0)) for q in ff["marketLevel"]["bidAskQuote"]
            ]
            compared += 1
        # No price off the 0.01 grid, nothing malformed, and few messages are partial.
        assert set(counted(decoder)) <= {"received", "decoded", "carried"}
        assert np.sum(decoder.live_counts) and not any(decoder.malformed.values())
    assert compared > 20_000
