"""Upstox frames in tests: our own .proto compiled, decoders and twins over the same keys, and comparing."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from reference.upstox_frames import Twin

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import COUNTERS

ROOT = Path(__file__).resolve().parent.parent

FIELDS = (
    "exch_ns", "volume", "slot", "flags", "kind", "last_px", "last_qty", "close_px", "oi", "open_px",
    "high_px", "low_px", "average_px", "total_buy_qty", "total_sell_qty", "last_trade_s",
)  # fmt: skip


def compiled_messages(folder: Path) -> ModuleType:
    """protos/khft_upstox_feed.proto as a module of message classes, generated into `folder`."""
    protos = ROOT / "protos"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={folder}"]
    subprocess.run([*command, "khft_upstox_feed.proto"], check=True, capture_output=True, timeout=60)
    spec = importlib.util.spec_from_file_location("khft_upstox_feed_pb2", folder / "khft_upstox_feed_pb2.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_decoder(
    keys: Sequence[str],
    scale: float = 100.0,
    tick_px: int = 5,
    *,
    portable: bool = False,
    connection: int = 0,
) -> UpstoxDecoder:
    """Slots run against the order of the keys, so that looking them up shows; tokens are slots * 256 + 1."""
    n = len(keys)
    slots = np.arange(n, dtype=np.uint32)[::-1].copy()
    return UpstoxDecoder(
        list(keys), slots, np.full(n, scale), np.full(n, tick_px, np.int32), connection,
        (slots * 256 + 1).astype(np.uint32), portable,
    )  # fmt: skip


def make_twin(keys: Sequence[str], scale: float = 100.0, tick_px: int = 5) -> Twin:
    return Twin({key: (len(keys) - 1 - i, scale, tick_px) for i, key in enumerate(keys)})


def as_twin_tells(tick: np.void) -> dict[str, Any]:
    """A TICK as the twin tells it: fields that are 0 are left out."""
    told: dict[str, Any] = {name: int(tick[name]) for name in FIELDS}
    for side in ("bid", "ask"):
        told[f"{side}s"] = [int(tick[f"{side}_px"]), *map(int, tick[f"{side}_px_deep"])]
        told[f"{side}_qty"] = [int(qty) for qty in tick[f"{side}_qty"]]
    return {name: value for name, value in told.items() if np.any(value)}


def from_twin(tick: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tick.items() if np.any(value)}


def aux_told(aux: np.ndarray) -> list[tuple[int, int, int, list[float]]]:
    return [(int(a["slot"]), int(a["kind"]), int(a["part"]), a["values"].tolist()) for a in aux]


def same_values(ours: Sequence[float], twins: Sequence[float]) -> bool:
    padded = [*twins, *[math.nan] * (len(ours) - len(twins))]
    return len(padded) == len(ours) and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(ours, padded, strict=True)
    )


def assert_same(
    ticks: np.ndarray, aux: np.ndarray, twins: tuple[list[dict[str, Any]], list[Any]], recv_ns: int
) -> None:
    """Ticks and AUX records of ours are what the twin says, field for field and in its order."""
    assert [as_twin_tells(tick) for tick in ticks] == [from_twin(tick) for tick in twins[0]]
    assert not ticks["seq"].any() and (ticks["recv_ns"] == recv_ns).all()
    for name in ("bid_orders", "ask_orders", "oi_day_high", "oi_day_low"):
        assert not ticks[name].any()
    told = aux_told(aux)
    assert [record[:3] for record in told] == [record[:3] for record in twins[1]]
    for ours, twin in zip(told, twins[1], strict=True):
        assert same_values(ours[3], twin[3]), (ours, twin)
    assert (aux["recv_ns"] == recv_ns).all()


def counted(decoder: UpstoxDecoder) -> dict[str, int]:
    """The decoder's counts that are not 0, without its checksum."""
    counts = zip(COUNTERS["feed"], decoder.live_counts.tolist(), strict=True)
    return {name: n for name, n in counts if n and name != "checksum_decoded"}
