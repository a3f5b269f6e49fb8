"""Layer 4, simulator, cold: order updates on their way to the connections, with their faults.

Pure: rows of Exchange.drain_updates() in, (row, whom) out, at the time that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kite_hft.sim.exchange.orders import UPDATE
from kite_hft.sim.faults.schedule import FaultRow, Faults, Hits

ORDER: Final = "order"
Row = Mapping[str, Any]
Note = Callable[[FaultRow, Mapping[str, Any]], None]


class Copy(NamedTuple):
    """One update for the connection `only` (None: all), but not for `without`."""

    row: Row
    only: int | None = None
    without: int | None = None


@dataclass(slots=True)
class _Held:
    copy: Copy
    fault: FaultRow
    until_ns: int
    till_next: bool  # goes out right after the update that follows


class UpdateFaults:
    """Doubles, delays, swaps, loses and labels order updates as the schedule says.

    `note(fault, more)` is told of each strike, once.
    """

    def __init__(self, faults: Faults, note: Note) -> None:
        self._faults = faults
        self._note = note
        self._held: list[_Held] = []
        self._acts: Final = {
            "update_double": self._double,
            "update_late": self._late,
            "update_reorder": self._reorder,
            "update_lost": self._lost,
            "update_label": self._label,
        }

    def pass_on(self, row: Row, now_ns: int, market_ns: int) -> list[Copy]:
        """What goes out now for one update of the exchange, in order.

        Only updates of orders are struck.
        """
        if row.get("update_type", ORDER) != ORDER:
            return [Copy(row)]
        followers = [held for held in self._held if held.till_next]
        fault = None if followers else self._faults.take(Hits.UPDATE, market_ns, lambda _: True)
        copies = [Copy(row)] if fault is None else self._acts[fault.kind](fault, row, now_ns)
        for held in followers:
            self._held.remove(held)
            copies.append(held.copy)
            self._strike(held.fault, held.copy.row, {"swapped_with": row["order_id"]})
        return copies

    def due(self, now_ns: int) -> list[Copy]:
        """Updates that were held until now."""
        out = []
        for held in [held for held in self._held if held.until_ns <= now_ns]:
            self._held.remove(held)
            out.append(held.copy)
            if held.till_next:
                self._strike(held.fault, held.copy.row, {"swapped_with": None})
        return out

    def next_ns(self) -> int | None:
        """When `due` has something next, or None."""
        return min((held.until_ns for held in self._held), default=None)

    def _strike(self, fault: FaultRow, row: Row, more: Mapping[str, Any] | None = None) -> None:
        told = {"order_id": row["order_id"], "status": row["status"], **(more or {})}
        self._note(fault, told)

    def _double(self, fault: FaultRow, row: Row, now_ns: int) -> list[Copy]:
        self._strike(fault, row)
        return [Copy(row), Copy(row, only=fault.connection)]

    def _label(self, fault: FaultRow, row: Row, now_ns: int) -> list[Copy]:
        self._strike(fault, row)
        return [Copy({**row, "status": UPDATE}, only=fault.connection), Copy(row)]

    def _lost(self, fault: FaultRow, row: Row, now_ns: int) -> list[Copy]:
        self._strike(fault, row)
        return self._others(fault, row)

    def _late(self, fault: FaultRow, row: Row, now_ns: int) -> list[Copy]:
        self._strike(fault, row)
        held = Copy(row, only=fault.connection)
        self._held.append(_Held(held, fault, now_ns + fault.for_ns, till_next=False))
        return self._others(fault, row)

    def _reorder(self, fault: FaultRow, row: Row, now_ns: int) -> list[Copy]:
        held = Copy(row, only=fault.connection)
        self._held.append(_Held(held, fault, now_ns + fault.for_ns, till_next=True))
        return self._others(fault, row)

    @staticmethod
    def _others(fault: FaultRow, row: Row) -> list[Copy]:
        """The connections that the fault does not strike get the update at once."""
        return [] if fault.connection is None else [Copy(row, without=fault.connection)]
