"""Layer 2, compute, hot: one running strategy of either form, behind the same four calls.

A host owns what belongs to the strategy in this worker: its positions (written from ORDER_EVENTs
only), its state, its outbox. The stage owns the batch arrays and hands them in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft._views import BarView, TickView
from kite_hft.layout import BAR, KERNEL_ROW, ORDER_EVENT, TICK
from kite_hft.strategies.base import POSITION, BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy, Loop, addresses_of, call_of, load
from kite_hft.strategies.intents import ROW_STEP, N, Outbox, Records


@dataclass(frozen=True, slots=True)
class Batch:
    """The arrays of one compute stage, made once; every batch is written into them.

    ticks: TICK (or compact rows, which form B and the kernels take as well) and rows: KERNEL_ROW,
    equally long; bars: BAR, 4 x as long, or 4 x n_slots if that is more. tokens: (n_slots,) uint32;
    scales: (n_slots,) float64, price units per currency unit.
    """

    ticks: Records
    rows: Records
    bars: Records
    tokens: npt.NDArray[np.uint32]
    scales: npt.NDArray[np.float64]


def new_batch(
    size: int,
    tokens: npt.NDArray[np.uint32],
    scales: npt.NDArray[np.float64],
    ticks: np.dtype[np.void] = TICK,
) -> Batch:
    """Arrays for batches of up to `size` ticks (records `ticks`) over len(tokens) instruments."""
    room = 4 * max(size, len(tokens))
    return Batch(
        np.zeros(size, ticks),
        np.zeros(size, KERNEL_ROW),
        np.zeros(room, BAR),
        np.ascontiguousarray(tokens, np.uint32),
        np.ascontiguousarray(scales, np.float64),
    )


class Host(Protocol):
    """What the stage does with a strategy."""

    name: str
    number: int
    outbox: Outbox

    def start(self) -> None: ...

    def run(self, n: int) -> None:
        """The batch's first n ticks, in order; intents go to the outbox."""

    def bars_closed(self, n: int) -> None:
        """The batch's first n bars were closed by time, without a tick."""

    def events(self, records: Records, n: int) -> int:
        """Take over ORDER_EVENTs [0, n); returns how many were this strategy's."""

    def new_session(self) -> None:
        """State starts afresh (yesterday's orders are dead), positions stay."""

    def save(self, slots: Slots) -> Saved:
        """All that another process needs to go on as this one would; arrays are those of `slots`."""

    def restore(self, saved: Saved, slots: Slots) -> bool:
        """Go on from `saved`. False: positions and numbering only, the strategy starts afresh.

        Raises:
            KeyError, ValueError: saved by another strategy.
        """


Slots = npt.NDArray[np.uint32]
Saved = Mapping[str, Any]
"""Name -> array, bytes, or a number."""
Compiled = tuple[Any, tuple[int], npt.NDArray[np.int64]]


def _put_back(target: Records, saved: Any, slots: Slots, what: str) -> None:
    """Rows of `slots`, as `save` took them.

    Raises:
        ValueError: records of another size, or of other slots.
    """
    rows = np.frombuffer(saved, target.dtype)
    if len(rows) != len(slots):
        raise ValueError(f"{what}: {len(rows)} rows saved, {len(slots)} slots")
    target[slots] = rows


def subscription(n_slots: int, slots: Sequence[int] | None) -> npt.NDArray[np.uint8]:
    """Mask of subscribed slots; None subscribes all.

    Raises:
        IndexError: a slot that does not exist.
    """
    if slots is None:
        return np.ones(n_slots, np.uint8)
    mask = np.zeros(n_slots, np.uint8)
    for slot in slots:
        if not 0 <= slot < n_slots:
            raise IndexError(f"slot {slot} of {n_slots}")
        mask[slot] = 1
    return mask


def put_saved(host: Host, slots: Slots, into: dict[str, dict[str, Any]]) -> None:
    """Put what a host goes on from under its number."""
    into[str(host.number)] = {"name": host.name, **host.save(slots)}


class PythonHost:
    """Runs a BaseStrategy (form A). It is the strategy's desk (base.Desk)."""

    def __init__(
        self,
        strategy: BaseStrategy,
        number: int,
        batch: Batch,
        slots: Sequence[int] | None = None,
        *,
        capacity: int = 4096,
        next_seq: int = 1,
    ) -> None:
        self.strategy = strategy
        self.name = strategy.name
        self.number = number
        self.outbox = Outbox(number, capacity, next_seq)
        self.scales = batch.scales
        self.slot_of: dict[int, int] = {token: slot for slot, token in enumerate(batch.tokens.tolist())}
        self.subscribed = subscription(len(batch.tokens), slots)
        self.positions: Records = np.zeros(len(batch.tokens), POSITION)
        self.view = TickView(batch.ticks, batch.rows, batch.scales, batch.tokens)
        self.in_tick = False
        self._bar = BarView(batch.bars, batch.scales, batch.tokens)
        self._batch = batch
        wants_bars = type(strategy).on_bar is not BaseStrategy.on_bar
        self._on_bar = strategy.on_bar if wants_bars else None
        strategy._desk = self

    def start(self) -> None:
        self.strategy.on_start()

    def run(self, n: int) -> None:
        self.in_tick = True
        try:
            self.view.deliver(n, self.subscribed, self.strategy.on_tick, self._on_bar, self._bar)
        finally:
            self.in_tick = False

    def bars_closed(self, n: int) -> None:
        if self._on_bar is None:
            return
        slots = self._batch.bars["slot"][:n]
        for index in np.flatnonzero(self.subscribed[slots]).tolist():
            self._bar.seek(index)
            self._on_bar(self._bar)

    def events(self, records: Records, n: int) -> int:
        mine = np.flatnonzero(records["strategy"][:n] == self.number).tolist()
        for index in mine:
            if self._settle(records[index]):
                self.strategy.on_order(records[index])
        return len(mine)

    def settle(self, records: Records) -> None:
        """Take over positions only: the strategy does not hear of these events."""
        for index in np.flatnonzero(records["strategy"] == self.number).tolist():
            self._settle(records[index])

    def _settle(self, event: np.void) -> bool:
        slot, product = int(event["slot"]), int(event["product"])
        if slot >= len(self.positions) or product >= 5:
            return False
        position = self.positions[slot]
        position["by_product"][product] = event["position"]
        position["qty"] = position["by_product"].sum()
        return True

    def new_session(self) -> None:
        self.strategy.on_session()

    def save(self, slots: Slots) -> Saved:
        own = self.strategy.save()
        if not isinstance(own, bytes | None):
            raise TypeError(f"save() gave {type(own).__name__}: bytes are kept, or None")
        saved = {
            "next_seq": self.outbox.next_seq,
            "positions": self.positions[slots],
            "latest": self.view.latest[slots],
        }
        return saved if own is None else saved | {"own": own}

    def restore(self, saved: Saved, slots: Slots) -> bool:
        self.outbox.next_seq = int(saved["next_seq"])
        _put_back(self.positions, saved["positions"], slots, "positions")
        _put_back(self.view.latest, saved["latest"], slots, "estimates")
        if "own" not in saved:
            return False
        self.strategy.restore(bytes(saved["own"]))
        return True


class CompiledHost:
    """Runs a CompiledStrategy (form B). The first start on a machine compiles, later ones load."""

    def __init__(
        self,
        strategy: CompiledStrategy,
        number: int,
        batch: Batch,
        slots: Sequence[int] | None = None,
        *,
        cache_dir: Path,
        capacity: int = 4096,
        next_seq: int = 1,
    ) -> None:
        self.strategy = strategy
        self.name = strategy.name
        self.number = number
        self.outbox = Outbox(number, capacity, next_seq)
        self.subscribed = subscription(len(batch.tokens), slots)
        self.positions: Records = np.zeros(len(batch.tokens), POSITION)
        self._scales = batch.scales
        self.states: Records = strategy.fresh(batch.scales)
        self.loop: Loop = load(strategy, cache_dir, batch.ticks.dtype)
        self._n_slots = len(batch.tokens)
        self._kept = (
            batch.ticks,
            batch.rows,
            self.subscribed,
            self.states,
            self.positions,
            strategy.params,
            self.outbox.records,
            self.outbox.tick_index,
            self.outbox.blank,
            np.zeros(1, ORDER_EVENT),
        )
        self._call = call_of(addresses_of(*self._kept), self._n_slots, number, self.outbox)
        self._called = self._call.ctypes.data
        self._no_row: Records = np.zeros(1, KERNEL_ROW)
        for estimate in ("estimate", "estimate2", "velocity2", "rel_diff"):
            self._no_row[estimate] = np.nan
        self._no_row["tick_no"] = 1
        self._elsewhere = self._call.copy()
        self._elsewhere[1], self._elsewhere[ROW_STEP] = self._no_row.ctypes.data, 0
        self._size = len(batch.ticks)

    def start(self) -> None:
        pass

    def run(self, n: int) -> None:
        self._call[N] = min(n, self._size)
        self.loop.run_ticks(self._called)

    def run_without_kernels(self, ticks: Records) -> None:
        """Ticks that lie elsewhere, such as a mapped recording, in place and without kernels.

        ticks: contiguous, of the batch's record. Each kernel row is blank: NaN, and tick_no 1.

        Raises:
            ValueError: other records.
        """
        if ticks.dtype != self._kept[0].dtype or ticks.ndim != 1 or not ticks.flags.c_contiguous:
            raise ValueError(f"ticks {ticks.shape} of {ticks.itemsize} B, need the batch's records")
        self._elsewhere[0] = ticks.ctypes.data
        self._elsewhere[N] = len(ticks)
        self.loop.run_ticks(self._elsewhere.ctypes.data)

    @property
    def compiled(self) -> Compiled:
        """`run` for compiled code: what to call with which arguments, after the number of ticks (at most
        the batch's) was written into the first word of the array."""
        return self.loop.entry, (self._called,), self._call[N:]

    def bars_closed(self, n: int) -> None:
        pass  # form B reads bars from kernel rows at the tick that closed them

    def events(self, records: Records, n: int) -> int:
        taken: int = self.loop.run_events(self._called, records.ctypes.data, min(n, len(records)))
        return taken

    def new_session(self) -> None:
        self.states[:] = self.strategy.fresh(self._scales)

    def save(self, slots: Slots) -> Saved:
        return {
            "next_seq": self.outbox.next_seq,
            "positions": self.positions[slots],
            "states": self.states[slots],
        }

    def restore(self, saved: Saved, slots: Slots) -> bool:
        self.outbox.next_seq = int(saved["next_seq"])
        _put_back(self.positions, saved["positions"], slots, "positions")
        _put_back(self.states, saved["states"], slots, "states")
        return True
