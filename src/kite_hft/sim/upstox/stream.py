"""Layer 4, simulator, hot: one connection of Upstox's market feed: its subscriptions and frames.

Requests are JSON in binary frames: sub, unsub, change_mode; a sub without a mode means ltpc, no
request is answered, and what is wrong is passed over in silence. After sub and change_mode comes
the state as initial_feed; live frames hold only instruments that ticked, and of those that are in
mode full neither depth nor Greeks where these are what the connection was told last.

Limits (`Shares`): with one category in use its individual number holds, with several the combined
one of each; by connection or over all of a user's, as the page can be read both ways. What is beyond
is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK
from kite_hft.sim.market.source import Ticks, Times
from kite_hft.sim.server.stream import Frame, Stream, slices
from kite_hft.sim.upstox.frames import (
    FULL,
    FULL_D30,
    GREEKS_PART,
    INITIAL_FEED,
    LEVEL_PART,
    LIVE_FEED,
    LTPC,
    MODES,
    OPTION_GREEKS,
    Feeds,
    KeyCells,
    encode_entries,
    frame,
    key_cells,
    placeholder,
)
from kite_hft.sim.upstox.rows import NS_PER_MS, FeedRows
from kite_hft.trading.instruments import InstrumentTable

Limits = Mapping[int, tuple[int, int]]
"""Mode -> keys of a user when it is the only mode in use, and beside others (0: not allowed)."""
NORMAL_LIMITS: Final[Limits] = {
    LTPC: (5000, 2000), OPTION_GREEKS: (3000, 2000), FULL: (2000, 1500), FULL_D30: (0, 0),
}  # fmt: skip
PLUS_LIMITS: Final[Limits] = {**NORMAL_LIMITS, FULL_D30: (50, 1500)}
"""Both: the market data feed V3 page, as copied in 2026-09."""

ROWS_AT_ONCE: Final = 512
"""Rows that are encoded together. Each takes about 4 KB meanwhile: a simulator that has fallen behind and
has thousands of them to make must not take 15 MB for it."""

_DEPTH: Final = ("bid_px", "ask_px", "bid_px_deep", "ask_px_deep", "bid_qty", "ask_qty")


@dataclass(slots=True)
class Shares:
    """What a user's open connections hold, by mode. `refused`: keys passed over so far.

    per_user: the limits hold over all connections; else for each alone.
    """

    limits: Limits = field(default_factory=lambda: NORMAL_LIMITS)
    per_user: bool = False
    streams: list[UpstoxStream] = field(default_factory=list)
    refused: int = 0

    def held(self, asking: UpstoxStream) -> dict[int, int]:
        """Keys by mode that count for a connection."""
        counts: dict[int, int] = {}
        for stream in self.streams if self.per_user else [asking]:
            for mode, number in stream.held().items():
                counts[mode] = counts.get(mode, 0) + number
        return counts

    def room(self, asking: UpstoxStream, mode: int) -> int:
        """How many more keys of a mode fit; 0 also where they would break another mode's number."""
        held = {m: n for m, n in self.held(asking).items() if n}
        if not set(held) - {mode}:
            return max(0, self.limits[mode][0] - held.get(mode, 0))
        if any(n > self.limits[m][1] for m, n in held.items() if m != mode):
            return 0
        return max(0, self.limits[mode][1] - held.get(mode, 0))


@dataclass(frozen=True, slots=True)
class FeedStyle:
    """What a feed does where the broker is silent or was seen to do both.

    partial: depth and Greeks that did not change are left out of live frames.
    empty_snapshot: initial_feed holds empty LTPC placeholders instead of the state.
    start_ms: epoch ms of the source's start, for currentTs; None: the ticks' own time.
    """

    partial: bool = True
    empty_snapshot: bool = False
    start_ms: int | None = None


class UpstoxStream(Stream):
    """What one connection has asked for, and the frames that wait to be sent to it."""

    def __init__(
        self,
        instruments: InstrumentTable,
        rows: FeedRows,
        keys: KeyCells | None = None,
        shares: Shares | None = None,
        style: FeedStyle | None = None,
        packets_per_frame: int = 1,
        stamp: bool = False,
    ) -> None:
        super().__init__(instruments, packets_per_frame, stamp)
        self._rows = rows
        self._keys = keys or key_cells([row.upstox_key for row in instruments])
        self._names = [row.upstox_key for row in instruments]
        self._slots = {key: slot for slot, key in enumerate(self._names) if key}
        self._index = np.array([row.is_index for row in instruments], bool)
        self._unknown: dict[str, int] = {}
        self.shares = shares or Shares()
        self.shares.streams.append(self)
        self._style = style or FeedStyle()
        self._current_ms = 0
        n = len(instruments)
        # What the reader knows of depth and Greeks when all that is encoded, or sent, has reached him.
        self._told, self._told_sent = np.zeros(n, TICK), np.zeros(n, TICK)
        self._knows, self._knows_sent = np.zeros(n, bool), np.zeros(n, bool)

    def leave(self) -> None:
        """The connection is gone: its keys are free."""
        if self in self.shares.streams:
            self.shares.streams.remove(self)

    def held(self) -> dict[int, int]:
        """Keys by mode."""
        counts = np.bincount(self.modes, minlength=FULL_D30 + 1).tolist()
        for mode in self._unknown.values():
            counts[mode] += 1
        return {mode: counts[mode] for mode in MODES.values()}

    @property
    def subscribed(self) -> int:
        """Keys that this connection holds, known to the exchange or not."""
        return int(np.count_nonzero(self.modes)) + len(self._unknown)

    # -- requests

    def on_message(self, data: bytes, *, binary: bool) -> tuple[list[bytes], list[int]]:
        """A request; nothing is ever answered."""
        request = _request(data) if binary else None
        if request is None:
            return [], []
        self.settle()  # what was sent so far was sent in the modes so far
        method, mode, keys = request
        act: Callable[[list[str], int], list[int]] | None = {
            "sub": self._sub, "change_mode": self._change_mode, "unsub": self._unsub,
        }.get(method)  # fmt: skip
        return [], [] if act is None else act(keys, mode)

    def _sub(self, keys: list[str], mode: int) -> list[int]:
        return self._set(dict.fromkeys(keys), mode or LTPC)

    def _change_mode(self, keys: list[str], mode: int) -> list[int]:
        if not mode:
            return []
        return self._set([key for key in dict.fromkeys(keys) if self._mode(key)], mode)

    def _unsub(self, keys: list[str], mode: int) -> list[int]:
        for key in keys:
            self._unknown.pop(key, None)
            if key in self._slots:
                self._put(self._slots[key], 0)
        return []

    def _mode(self, key: str) -> int:
        slot = self._slots.get(key)
        return self._unknown.get(key, 0) if slot is None else int(self.modes[slot])

    def _set(self, keys: Sequence[str] | Mapping[str, None], mode: int) -> list[int]:
        """Keys into a mode, as far as there is room; the slots of those that are known."""
        changed: list[int] = []
        room, full = 0, False
        for key in keys:
            if self._mode(key) == mode:
                if (slot := self._slots.get(key)) is not None:
                    changed.append(slot)
                continue
            if not room and not full:
                room = self.shares.room(self, mode)
                full = not room
            if full and not self._fits_alone(key, mode):
                self.shares.refused += 1
                continue
            room = max(0, room - 1)
            slot = self._slots.get(key)
            if slot is None:
                self._unknown[key] = mode
            else:
                self._put(slot, mode)
                changed.append(slot)
        return changed

    def _fits_alone(self, key: str, mode: int) -> bool:
        """A key that leaves another mode may make the room that it needs."""
        before = self._mode(key)
        if not before:
            return False
        slot = self._slots.get(key)
        if slot is not None:
            self.modes[slot] = 0
            fits = self.shares.room(self, mode) > 0
            self.modes[slot] = before
            return fits
        del self._unknown[key]
        fits = self.shares.room(self, mode) > 0
        self._unknown[key] = before
        return fits

    def _put(self, slot: int, mode: int) -> None:
        self.modes[slot] = mode
        self._knows[slot] = self._knows_sent[slot] = False

    # -- frames

    def ends(self, ticks: Ticks) -> list[int]:
        """A frame holds an instrument once (`feeds` is a map), and ticks of one time: its own."""
        if self._per_frame == 1:
            return list(range(1, len(ticks) + 1))
        found: list[int] = []
        start, seen = 0, set[int]()
        newer = self._newer(ticks)
        for i, slot in enumerate(ticks["slot"].tolist()):
            if slot in seen or i - start == self._per_frame or (i > start and newer[i]):
                found.append(i)
                start = i
                seen.clear()
            seen.add(slot)
        if len(ticks) - start == self._per_frame:
            found.append(len(ticks))
        return found

    def _newer(self, ticks: Ticks) -> list[bool]:
        """Whether each tick's own time is not that of the one before it; none, where they are not told."""
        if self._style.start_ms is not None or not len(ticks):
            return [False] * len(ticks)
        ms = ticks["exch_ns"] // NS_PER_MS
        newer: list[bool] = np.diff(ms, prepend=ms[:1]).astype(bool).tolist()
        return newer

    def encoded(self, times: Times, ticks: Ticks, ends: Sequence[int]) -> list[bytes]:
        """live_feed frames."""
        entries: list[bytes] = []
        for at in range(0, len(ticks), ROWS_AT_ONCE):
            part = ticks[at : at + ROWS_AT_ONCE]
            rows = self._rows.rows(part)
            if self._style.partial:
                self._leave_out(rows, part)
            entries += encode_entries(rows, part["slot"], self.modes, self._keys)
        current = self._times_ms(times, ticks)
        frames = []
        for held in slices(ends):
            self._current_ms = max(self._current_ms, int(current[held].max()))
            frames.append(frame(LIVE_FEED, entries[held], self._current_ms))
        return frames

    def snapshot(self, state: Ticks) -> list[Frame]:
        """As Stream.snapshot; a placeholder tells no tick."""
        frames = super().snapshot(state)
        return [f._replace(ticks=f.ticks[:0]) for f in frames] if self._style.empty_snapshot else frames

    def burst(self, state: Ticks, size: int) -> list[Frame]:
        """As Stream.burst; the frames come between others that are encoded already."""
        frames = super().burst(state, size)
        self._knows[state["slot"]] = False
        return frames

    def snapshot_frames(self, parts: Sequence[Ticks]) -> list[bytes]:
        """initial_feed frames."""
        return [self._snapshot_frame(part) for part in parts]

    def _snapshot_frame(self, part: Ticks) -> bytes:
        rows = self._rows.rows(part)
        self._current_ms = max(self._current_ms, int(rows["ltt"].max(initial=0)))
        slots = part["slot"]
        if self._style.empty_snapshot:
            entries = [placeholder(self._names[slot], int(self.modes[slot])) for slot in slots.tolist()]
        else:
            entries = encode_entries(rows, slots, self.modes, self._keys)
        self._knows[slots] = False  # frames may wait that come before what is encoded next
        return frame(INITIAL_FEED, entries, self._current_ms)

    def _times_ms(self, times: Times, ticks: Ticks) -> npt.NDArray[np.int64]:
        if self._style.start_ms is None:
            own: npt.NDArray[np.int64] = ticks["exch_ns"] // NS_PER_MS
            return own
        return self._style.start_ms + times // NS_PER_MS

    def _leave_out(self, rows: Feeds, ticks: Ticks) -> None:
        """Take from the rows what the reader knows already."""
        slots = ticks["slot"]
        before, known = self._told[slots], self._knows[slots].copy()
        order = np.argsort(slots, kind="stable")
        again = np.flatnonzero(slots[order][1:] == slots[order][:-1])
        before[order[again + 1]], known[order[again + 1]] = ticks[order[again]], True
        same = known.copy()
        for name in _DEPTH:
            equal = before[name] == ticks[name]
            same &= equal if equal.ndim == 1 else equal.all(axis=1)
        rows["parts"][same & (rows["parts"] > 0)] &= ~np.uint8(LEVEL_PART)
        still = known & (before["last_px"] == ticks["last_px"])
        rows["parts"][still] &= ~np.uint8(GREEKS_PART)
        self._told[slots], self._knows[slots] = ticks, True

    def reload(self, times: Times, ticks: Ticks) -> None:
        """As Stream.reload, from what was sent on."""
        self.settle()
        self._told, self._knows = self._told_sent.copy(), self._knows_sent.copy()
        super().reload(times, ticks)

    def withhold(self, until_ns: int) -> int:
        """As Stream.withhold; what was left out because of it is told again."""
        lost = super().withhold(until_ns)
        if lost:
            self.settle()
            self._knows_sent[:] = False
            self.reload(np.empty(0, np.int64), np.empty(0, TICK))
        return lost

    def settled(self, ticks: Ticks) -> None:
        """What the reader was told."""
        self._told_sent[ticks["slot"]] = ticks
        if not self._style.empty_snapshot:
            self._knows_sent[ticks["slot"]] = True

    def bare(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Mode ltpc, and indices in every mode."""
        bare: npt.NDArray[np.bool_] = (self.modes[slots] == LTPC) | self._index[slots]
        return bare


def _request(data: bytes) -> tuple[str, int, list[str]] | None:
    """(method, mode or 0, keys) of a request; None: it is none."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    body: Any = message.get("data") if isinstance(message, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("instrumentKeys"), list):
        return None
    keys = [key for key in body["instrumentKeys"] if isinstance(key, str) and key]
    mode = body.get("mode")
    if mode is not None and not (isinstance(mode, str) and mode in MODES):
        return None
    return str(message.get("method")), MODES[mode] if mode else 0, keys
