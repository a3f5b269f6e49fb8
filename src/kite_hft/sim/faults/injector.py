"""Layer 4, simulator, cold: strikes connections, frames, updates and requests as the schedule says.

Pure but for the lines that it is handed: what a connection's bad end looks like on TCP is theirs.
Every strike is one row of the injection log; its `count` is how often a client's own counter of
that fault moves.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from kite_hft.sim.faults.acts import Acts
from kite_hft.sim.faults.schedule import FaultRow, Faults, Hits
from kite_hft.sim.faults.updates import Copy, UpdateFaults
from kite_hft.sim.faults.words import FaultWords
from kite_hft.sim.rest import Response
from kite_hft.sim.server.hub import Hold, Hub, Link
from kite_hft.sim.server.stream import Frame
from kite_hft.units import NS_PER_S

_ORDER_VERBS: Final = frozenset(("place", "modify", "cancel"))


class Line(Protocol):
    """A connection, as seen by who ends it."""

    link: Link | None
    leaving: bool
    frozen: bool

    def drop(self) -> None: ...

    def reset(self) -> None: ...

    def abort(self) -> None: ...

    def freeze(self, keeps_place: bool) -> None: ...

    def close_with(self, code: int) -> None: ...


class Reply(NamedTuple):
    """What becomes of a request: an answer, after a while; None: the connection is closed."""

    response: Response | None
    delay_s: float = 0.0


@dataclass(slots=True)
class InjectionLog:
    """What was injected, oldest first. `write` gets each row as one line of JSON."""

    write: Callable[[str], object] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, at_ns: int, row: FaultRow, told: Mapping[str, Any]) -> None:
        """One strike at `at_ns` (epoch)."""
        made = {"seq": len(self.rows) + 1, "at_ns": at_ns, "kind": row.kind, "count": 1, **told}
        made["parameters"] = row.described()
        self.rows.append(made)
        if self.write is not None:
            self.write(json.dumps(made) + "\n")

    def counts(self) -> dict[str, int]:
        """By kind, the sum of `count`."""
        sums: dict[str, int] = {}
        for row in self.rows:
            sums[row["kind"]] = sums.get(row["kind"], 0) + row["count"]
        return sums


class Injector:
    """One simulator's faults. Times: `now_ns` is CLOCK_MONOTONIC, the log's are the epoch's."""

    def __init__(
        self,
        faults: Faults,
        log: InjectionLog,
        hub: Hub,
        acts: Acts,
        lines: Callable[[], Iterable[Line]],
        real_ns: Callable[[], int],
        words: FaultWords,
    ) -> None:
        self.log = log
        self._words = words
        self.faults = faults
        self._hub = hub
        self._acts = acts
        self._lines = lines
        self._real_ns = real_ns
        self._updates = UpdateFaults(faults, self._note)
        self._pending: list[FaultRow] = []
        self._ends: list[tuple[int, int, Callable[[int], None]]] = []
        self._numbers = 0
        self._now_ns = 0
        self._watch_frames()

    # -- schedule

    def inject(self, row: FaultRow, now_ns: int) -> None:
        """Strike now, or the next that comes by."""
        if row.hits in (Hits.CONNECTION, Hits.ACT):
            self._pending.append(row)
            self.step(now_ns)
        else:
            self.faults.arm(row)
            self._watch_frames()

    def step(self, now_ns: int) -> None:
        """Do what is due at `now_ns`."""
        self._now_ns = now_ns
        while self._ends and self._ends[0][0] <= now_ns:
            heapq.heappop(self._ends)[2](now_ns)
        if self._hub.started_ns is not None and not self.faults.idle:
            self._pending += self.faults.due(self._market_ns(now_ns))
            self._watch_frames()
        waiting, self._pending = self._pending, []
        for row in waiting:
            if not self._strike(row, now_ns):
                self._pending.append(row)

    def next_ns(self) -> int | None:
        """When `step` has something next, or None."""
        times = [self._ends[0][0]] if self._ends else []
        if (held := self._updates.next_ns()) is not None:
            times.append(held)
        if self._hub.started_ns is not None and (due := self.faults.next_ns()) is not None:
            times.append(self._hub.started_ns + due)
        return min(times, default=None)

    def _market_ns(self, now_ns: int) -> int:
        started = self._hub.started_ns
        return -1 if started is None else now_ns - started

    def _strike(self, row: FaultRow, now_ns: int) -> bool:
        """True when done; False: there is nothing to strike yet."""
        if row.hits is Hits.CONNECTION:
            return self._strike_lines(row, now_ns)
        deed = self._acts.do(row, self._real_ns())
        if deed is None:
            return False
        for told in deed.rows:
            self._note(row, told)
        if deed.undo is not None:
            undo = deed.undo
            self._after(now_ns + row.for_ns, lambda _: undo(self._real_ns()))
        if row.kind == "token_death":
            self.end(list(self._lines()))
        return True

    def end(self, lines: Sequence[Line]) -> None:
        """End connections as a dead token does: FIN without a close frame."""
        for line in lines:
            if line.frozen:
                line.abort()
            else:
                line.drop()

    def _after(self, at_ns: int, act: Callable[[int], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._ends, (at_ns, self._numbers, act))

    def _note(self, row: FaultRow, told: Mapping[str, Any]) -> None:
        self.log.add(self._real_ns(), row, told)

    # -- connections

    def _strike_lines(self, row: FaultRow, now_ns: int) -> bool:
        struck = False
        for line in list(self._lines()):
            link = line.link
            if link is None or line.leaving or link.hold is not Hold.NOTHING:
                continue
            if row.connection is None or row.connection == link.number:
                self._strike_line(row, line, link, now_ns)
                self._note(row, {"connection": link.number})
                struck = True
        return struck

    def _strike_line(self, row: FaultRow, line: Line, link: Link, now_ns: int) -> None:
        ends_ns = now_ns + row.for_ns
        if row.kind == "drop":
            line.drop()
        elif row.kind == "reset":
            line.reset()
        elif row.kind == "silence":
            link.hold = Hold.FOR_GOOD
            self._after(ends_ns, lambda at: self._hub.release(link, at) if self._open(line, link) else None)
        elif row.kind == "half_open":
            line.freeze(bool(row.parameters["keeps_place"]))
            self._after(ends_ns, lambda _: line.abort())
        elif row.kind == "close":
            line.close_with(int(row.parameters["code"]))
        elif row.kind == "burst":
            self._hub.burst(link, int(row.parameters["size"]), now_ns)
        elif row.kind == "slow_consumer":
            link.hold = Hold.FOR_LATER

            def burst_and_drop(at_ns: int) -> None:
                if self._open(line, link):
                    self._hub.release(link, at_ns)
                    line.drop()

            self._after(ends_ns, burst_and_drop)

    def _open(self, line: Line, link: Link) -> bool:
        return link in self._hub.links and not line.leaving

    # -- frames

    def _watch_frames(self) -> None:
        """The hub asks about a frame only while one may be struck."""
        self._hub.spoil = self._spoil if self.faults.waits_for(Hits.FRAME) else None

    def _spoil(self, link: Link, frame: Frame) -> Frame:
        def fits(row: FaultRow) -> bool:
            return row.connection in (None, link.number)

        row = self.faults.take(Hits.FRAME, self._market_ns(self._now_ns), fits)
        if row is None:
            return frame
        self._watch_frames()
        damaged = self._words.damage(row, frame, self.faults.rng)
        self._note(row, {"connection": link.number, "spoiled": damaged.spoiled - frame.spoiled})
        return damaged

    # -- order updates

    def pass_on(self, row: Mapping[str, Any], now_ns: int) -> list[Copy]:
        """What goes out now for one order update."""
        self._now_ns = now_ns
        return self._updates.pass_on(row, now_ns, self._market_ns(now_ns))

    def held_updates(self, now_ns: int) -> list[Copy]:
        """Order updates that were kept back until now."""
        return self._updates.due(now_ns)

    # -- requests

    def serve(self, method: str, path: str, handle: Callable[[], Response], now_ns: int) -> Reply:
        """Answer one REST request through `handle`, or not."""
        if self.faults.idle:
            return Reply(handle())
        what = self._words.request_kind(method, path)
        market_ns = self._market_ns(now_ns)
        row = self.faults.take(Hits.REQUEST, market_ns, lambda r: _asked(r.parameters["request"], what))
        if row is not None:
            return self._strike_request(row, what, handle)
        row = self.faults.take(Hits.PLACEMENT, market_ns, lambda _: True) if what == "place" else None
        if row is None:
            return Reply(handle())
        self._acts.prepare(row)
        response = handle()
        order_id = self._words.order_id(response)
        if order_id is None:  # refused before any order existed: the next one gets it
            self._acts.unprepare(row)
            self.faults.arm(replace(row, count=1))
        else:
            self._note(row, {"order_id": order_id})
        return Reply(response)

    def _strike_request(self, row: FaultRow, what: str, handle: Callable[[], Response]) -> Reply:
        does = row.kind == "slow_answer" or bool(row.parameters.get("processed", False))
        done = handle() if does else None
        order_id = self._words.order_id(done) if done is not None else None
        self._note(row, {"request": what, "order_id": order_id})
        if row.kind == "slow_answer":
            return Reply(done, row.for_ns / NS_PER_S)
        return Reply(self._words.answers.get(row.kind))


def _asked(wanted: str, what: str) -> bool:
    return wanted in ("any", what) or (wanted == "order" and what in _ORDER_VERBS)
