"""Layer 6, verify processes, cold: the Upstox decoders and the slow rules side by side, frame after frame."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import TickFlag
from kite_hft.verify.prices import upstox_cases as cases
from kite_hft.verify.prices import upstox_meaning as meaning

CONNECTION: Final = 2
SDK_MESSAGES: Final = "upstox_client.feeder.proto.MarketDataFeedV3_pb2"
NUMBERS: Final = (
    "slot", "kind", "flags", "exch_ns", "last_px", "last_qty", "close_px", "last_trade_s", "volume",
    "average_px", "total_buy_qty", "total_sell_qty", "open_px", "high_px", "low_px", "oi",
)  # fmt: skip
ZEROS: Final = ("seq", "oi_day_high", "oi_day_low", "bid_orders", "ask_orders")


def instruments() -> dict[str, meaning.Instrument]:
    """Slots that differ from the order of the keys, to see that they are looked up."""
    found = {}
    for at, key in enumerate(cases.KEYS):
        segment = key.partition("|")[0]
        scale, step = cases.SCALES[segment]
        slot = len(cases.KEYS) - at
        found[key] = meaning.Instrument(slot, scale, step, segment.endswith("_INDEX"))
    return found


def make_decoder(known: dict[str, meaning.Instrument], *, portable: bool = False) -> UpstoxDecoder:
    rows = list(known.values())
    slots = np.array([row.slot for row in rows], np.uint32)
    scales = np.array([row.scale for row in rows])
    steps = np.array([row.step for row in rows], np.int32)
    return UpstoxDecoder(list(known), slots, scales, steps, CONNECTION, slots, portable)


def sdk_parser() -> Any:
    """`FeedResponse.FromString` of the official SDK.

    Raises:
        ModuleNotFoundError: the SDK is not installed.
    """
    return importlib.import_module(SDK_MESSAGES).FeedResponse.FromString


def has_dropped_entry(message: Any) -> bool:
    """Whether upb threw an entry of a map away because it holds an unknown field: we keep those."""
    fields: Any = importlib.import_module("google.protobuf.unknown_fields")
    top = any(one.field_number == 2 and one.wire_type == 2 for one in fields.UnknownFieldSet(message))
    return top or bool(len(fields.UnknownFieldSet(message.marketInfo)))


def tick_told(tick: np.void) -> dict[str, Any]:
    """A TICK as upstox_meaning tells it, with what is never set as `zeros`."""
    found: dict[str, Any] = {name: int(tick[name]) for name in NUMBERS}
    for side in ("bid", "ask"):
        found[f"{side}s"] = [int(tick[f"{side}_px"]), *tick[f"{side}_px_deep"].tolist()]
        found[f"{side}_qty"] = tick[f"{side}_qty"].tolist()
    found["zeros"] = any(np.any(tick[name]) for name in ZEROS)
    return found


_BLANK: Final = {name: 0 for name in NUMBERS} | {
    name: [0] * 5 for name in ("bids", "asks", "bid_qty", "ask_qty")
} | {"zeros": False}  # fmt: skip


def key_of_aux(record: tuple[int, int, int, list[float]]) -> tuple[int, int, int, tuple[str, ...]]:
    """A record whose values compare, NaN with NaN; those behind the last that is not NaN are left out."""
    values = list(record[3])
    while values and math.isnan(values[-1]):
        values.pop()
    return (*record[:3], tuple(map(repr, values)))


@dataclass
class Bench:
    """The decoders and the slow rules over the same instruments, and what was counted."""

    known: dict[str, meaning.Instrument] = field(default_factory=instruments)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ours = make_decoder(self.known)
        self.portable = make_decoder(self.known, portable=True)
        self.paused = make_decoder(self.known)
        self.parse = sdk_parser()

    def reset(self) -> None:
        """All forget what they know of the instruments."""
        for decoder in (self.ours, self.portable, self.paused):
            decoder.reset()
        for instrument in self.known.values():
            instrument.known = meaning.Known()

    def decoded(self, frame: bytes, turn: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Ticks and AUX records of our decoder, and how the other ways to decode differ."""
        ticks, aux = self.ours.decode_both(frame, turn)
        for name, decoder in (("portable", self.portable), ("paused", self.paused)):
            others, other_aux = decoder.decode_both(frame, turn, 1 if name == "paused" else 0)
            if others.tobytes() != ticks.tobytes() or other_aux.tobytes() != aux.tobytes():
                return ticks, aux, f"the {name} decoder differs"
        return ticks, aux, ""

    def check(self, frame: bytes, turn: int) -> str:
        """Decodes one frame with all; what differs, or an empty string."""
        before = self.ours.malformed["message"]
        ticks, aux, what = self.decoded(frame, turn)
        is_malformed = self.ours.malformed["message"] - before
        try:
            message = self.parse(frame)
        except Exception as error:
            self.counts["malformed"] += 1
            # What stood before the fault is taken: the slow rules know nothing of it.
            self.reset()
            self.take_over()
            return what or ("" if is_malformed else f"protobuf refuses it: {error}")
        if is_malformed:
            return f"counted as malformed {is_malformed} times, and protobuf takes it"
        if has_dropped_entry(message):
            self.reset()
            self.take_over()
            return what
        return what or self.compare(message, ticks, aux, turn)

    def take_over(self) -> None:
        """After a malformed frame the expected counts go on from ours."""
        for name, n in self.ours.counts().items():
            if name not in ("checksum_decoded", "malformed_message"):
                self.counts[name] = n

    def compare(self, message: Any, ticks: np.ndarray, aux: np.ndarray, turn: int) -> str:
        """Ours against what the message means."""
        told = [tick_told(tick) for tick in ticks]
        expected, records = self.meant(message)
        if sorted(told, key=lambda t: t["slot"]) != sorted(expected, key=lambda t: t["slot"]):
            return f"ours {told} expected {expected}"
        if (ticks["recv_ns"] != turn).any() or (ticks["connection"] != CONNECTION).any():
            return "recv_ns or connection"
        ours = [(int(a["slot"]), int(a["kind"]), int(a["part"]), a["values"].tolist()) for a in aux]
        if sorted(map(key_of_aux, ours)) != sorted(map(key_of_aux, records)):
            return f"AUX ours {ours} expected {records}"
        self.count_twins()
        counted = {n: c for n, c in self.ours.counts().items() if c and n not in ("checksum_decoded",)}
        wanted = {n: c for n, c in self.counts.items() if c and n != "malformed"}
        counted.pop("malformed_message", 0)
        return "" if counted == wanted else f"counted {counted} expected {wanted}"

    def count_twins(self) -> None:
        """Entries of one unknown key in one frame are counted each; the parsed message has the last alone."""
        twins = int(self.ours.unknown_instrument) - self.counts["unknown_instrument"]
        if twins > 0:
            self.counts["unknown_instrument"] += twins
            self.counts["received"] += twins

    def meant(self, message: Any) -> tuple[list[dict[str, Any]], list[tuple[int, int, int, list[float]]]]:
        """Ticks and AUX records that a parsed message must give; its counts are added."""
        ticks: list[dict[str, Any]] = []
        records = meaning.markets_of(message.marketInfo)
        self.counts["market_infos"] += message.HasField("marketInfo")
        time_ms = message.currentTs if 0 < message.currentTs <= meaning.TIME_MS_MAX else 0
        for key, feed in message.feeds.items():
            instrument = self.known.get(key)
            if instrument is None:
                self.counts["unknown_instrument"] += 1
                self.counts["received"] += 1
                continue
            if message.type == 0:
                instrument.known = meaning.Known()
            tick, of_feed = self.one(instrument, feed)
            if tick is not None:
                tick["exch_ns"] = time_ms * 10**6
                tick["flags"] |= int(TickFlag.EXCHANGE_TIME) if time_ms else 0
                ticks.append(_BLANK | tick)
            records += [(instrument.slot, *record) for record in of_feed]
        return ticks, records

    def one(self, instrument: meaning.Instrument, feed: Any) -> tuple[dict[str, Any] | None, list[Any]]:
        """One Feed: its tick, or None, and its AUX records."""
        branch, body = meaning.body_of(feed)
        parts = meaning.Parts(branch, body) if branch else None
        groups = parts.groups() if parts else 0
        if parts is None or not groups:
            return None, meaning.aux_of(feed)
        self.counts["received"] += 1
        try:
            tick, is_off = meaning.merged(instrument, parts, groups)
        except meaning.Refused as refused:
            self.counts[str(refused)] += 1
            return None, []
        self.counts["decoded"] += 1
        self.counts["off_grid"] += is_off
        self.counts["carried"] += bool(tick["flags"] & TickFlag.CARRIED)
        return tick, meaning.aux_of(feed)
