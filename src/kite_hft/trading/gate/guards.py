"""Layer 2, orders process, hot: what the gate remembers of a day: orders sent, and how positions ended.

Orders sent are the `Tally` of ext/tally.pyx.

`Guards` are losses that stop a strategy, or all of them, for a while or until a person lets them go
on. Everything that changes them is a small dict, journalled as GUARD by whoever made it, and taken by
`fold`: live and from the journal alike. A loss is what a position has realised, gross, when it was
closed or turned. Times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kite_hft.trading.book import Book
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.positions import Position, paise_of_units
from kite_hft.units import NS_PER_S, rupees_text

Key = tuple[int, int, int]
"""(strategy, slot, product)."""


class _Seen(NamedTuple):
    """A position as it was looked at last; values in units, see positions.py."""

    quantity: int
    opened: int  # realised when it was opened
    realised: int
    fills: int  # so many
    result: int  # of what was closed or turned last


_NOTHING: Final = _Seen(0, 0, 0, 0, 0)


class Pauses(NamedTuple):
    """What still counts of losses: when they were, who cools down (strategy, slot) until when, and until when
    nothing is opened, 0: it is."""

    losses: tuple[int, ...]
    cooling: Mapping[tuple[int, int], int]
    until_ns: int


PEAK_PARTS: Final = 10
"""The day's best is journalled whenever it has grown by this part of the drawdown: a process that is started
again knows it as well as that."""


class Guards:
    """Drawdown, and pauses after losses. The day's loss limit is losses.py's."""

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits
        self._drawdown_paise = _paise(limits.max_drawdown)
        self._losses_ns = round(limits.stop_losses_s * NS_PER_S)
        self._pause_ns = round(limits.stop_pause_s * NS_PER_S)
        self._cooldown_ns = round(limits.cooldown_s * NS_PER_S)
        self._seen: dict[Key, _Seen] = {}
        self._losses: deque[int] = deque()
        self._cooling: dict[tuple[int, int], int] = {}  # (strategy, slot) -> until
        self._paused_until_ns = 0
        self.peak_paise = self._peak_told = self.net_paise = 0
        self.drawdown = ""  # latched: why; "" when it has not tripped
        self.tripped = 0
        self.calm = True  # nothing stands that could refuse

    # What happens

    def look(self, book: Book, instruments: InstrumentTable) -> list[dict[str, Any]]:
        """Positions that were closed or turned since the last look, as GUARD records to journal and fold."""
        found = []
        for key, position in book.positions.items():
            if position.strategy == EXTERNAL:
                continue
            quantity, realised, fills = position.quantity, position.realised_units, len(position.fills)
            was, opened, last, known, result = self._seen.get(key, _NOTHING)
            if (quantity, realised, fills) == (was, last, known):
                continue
            told = False
            if 0 < fills == known and not quantity:  # the broker has set right what it was worth
                before, result, opened = result, result + realised - last, realised
                told = before >= 0 > result
            elif was * quantity < 0 or not quantity:
                result, opened = realised - opened, realised
                told = result != 0
            if told:
                found.append(self._closed(position, paise_of_units(result, instruments[position.slot])))
            self._seen[key] = _Seen(quantity, opened, realised, fills, result)
        return found

    def begin(self, book: Book, judged: Mapping[Key, int]) -> None:
        """The book as it was replayed. judged: how many fills of a position an earlier process knew when it
        told that one of its strategy was closed there; what was closed later is told by the next look.
        """
        for key, position in book.positions.items():
            if position.strategy != EXTERNAL:
                self._seen[key] = _seen_before(position, judged.get(key, 0))

    def carry(self, peak_paise: int, drawdown: str, pauses: Pauses) -> None:
        """What an earlier run of the day had come to, before anything of this one."""
        self.peak_paise = self._peak_told = peak_paise  # a person may have let it begin below zero
        self.drawdown, self._paused_until_ns = drawdown, pauses.until_ns
        self._losses.extend(pauses.losses)
        self._cooling.update(pauses.cooling)
        self.calm = not (self.drawdown or self._cooling or self._paused_until_ns)

    def pauses(self, now_ns: int) -> Pauses:
        """For the next run of the day."""
        losses = tuple(ns for ns in self._losses if ns > now_ns - self._losses_ns)
        cooling = {key: until for key, until in self._cooling.items() if until > now_ns}
        return Pauses(losses, cooling, self._paused_until_ns if self._paused_until_ns > now_ns else 0)

    def mark(self, net_paise: int) -> list[dict[str, Any]]:
        """The day's net result as it stands now; GUARD records of what that trips."""
        self.net_paise = net_paise
        self.peak_paise = max(self.peak_paise, net_paise)
        lost = self.peak_paise - net_paise
        if self._drawdown_paise is None or self.drawdown:
            return []
        if lost < self._drawdown_paise:
            told = (self.peak_paise - self._peak_told) * PEAK_PARTS < self._drawdown_paise
            return [] if told else [{"guard": "peak", "peak_paise": self.peak_paise}]
        text = (
            f"{rupees_text(lost)} below the day's best {rupees_text(self.peak_paise)}"
            f" >= max_drawdown {rupees_text(self._drawdown_paise)}"
        )
        return [{"guard": "drawdown", "text": text, "peak_paise": self.peak_paise}]

    def let_go(self) -> dict[str, Any]:
        """A person lets everything go on: the best of the day is now, pauses end. To journal and fold."""
        return {"guard": "let_go", "peak_paise": self.net_paise}

    def _closed(self, position: Position, paise: int) -> dict[str, Any]:
        return {
            "guard": "closed",
            "strategy": position.strategy,
            "slot": position.slot,
            "paise": paise,
            "peak_paise": self.peak_paise,
        }

    def fold(self, data: Mapping[str, Any], at_ns: int) -> str:
        """Take one GUARD record; returns what it tripped, for people, or "".

        Raises:
            KeyError: a part of it is missing; ValueError: a guard that does not exist.
        """
        text = self._fold(data, at_ns)
        self.calm = not (self.drawdown or self._cooling or self._paused_until_ns > at_ns)
        return text

    def _fold(self, data: Mapping[str, Any], at_ns: int) -> str:
        self.peak_paise = self._peak_told = max(self.peak_paise, data["peak_paise"])
        what = data["guard"]
        if what == "peak":
            return ""
        if what == "closed":
            return self._fold_closed(data["strategy"], data["slot"], data["paise"], at_ns)
        if what == "drawdown":
            self.drawdown = data["text"]
            self.tripped += 1
            return f"drawdown: {self.drawdown}"
        if what != "let_go":
            raise ValueError(f"guard {what!r} does not exist")
        self.drawdown, self.peak_paise, self._paused_until_ns = "", data["peak_paise"], 0
        self._peak_told = self.peak_paise
        self._losses.clear()
        self._cooling.clear()
        return ""

    def _fold_closed(self, strategy: int, slot: int, paise: int, at_ns: int) -> str:
        self._cooling = {key: until for key, until in self._cooling.items() if until > at_ns}
        if paise >= 0:
            return ""
        if self._cooldown_ns:
            self._cooling[strategy, slot] = at_ns + self._cooldown_ns
        most = self._limits.stop_losses_max
        if most is None:
            return ""
        self._losses.append(at_ns)
        while self._losses[0] <= at_ns - self._losses_ns:
            self._losses.popleft()
        if len(self._losses) < most:
            return ""
        text = f"{len(self._losses)} positions closed at a loss within {self._limits.stop_losses_s:g} s"
        self._paused_until_ns = at_ns + self._pause_ns
        self._losses.clear()
        self.tripped += 1
        return f"stop guard: {text}, nothing is opened for {self._limits.stop_pause_s:g} s"

    def standing(self, now_ns: int) -> str:
        """What stops everything, for people: of a run before, at a start; "": nothing."""
        if self.drawdown:
            return f"drawdown: {self.drawdown}"
        if left_ns := self.paused_ns(now_ns):
            return f"stop guard: nothing is opened for {left_ns / NS_PER_S:.0f} s more"
        return ""

    # What the checks ask

    def silent(self, strategy: int, slot: int, now_ns: int) -> bool:
        """None of the questions below would refuse, nor a drawdown."""
        if self.calm:
            return True
        cooling = (strategy, slot) in self._cooling
        return not (self.drawdown or cooling or self._paused_until_ns > now_ns)

    def cooling_ns(self, strategy: int, slot: int, now_ns: int) -> int:
        """How long the strategy still waits in this instrument; 0: it does not."""
        return max(0, self._cooling.get((strategy, slot), now_ns) - now_ns)

    def paused_ns(self, now_ns: int) -> int:
        """How long nothing is opened after too many losses; 0: it is."""
        return max(0, self._paused_until_ns - now_ns)


def _paise(rupees: float | None) -> int | None:
    return None if rupees is None else round(rupees * 100)


def _seen_before(position: Position, judged: int) -> _Seen:
    """A position as it stood before the first closing that none of its first `judged` fills made; else as it
    stands.
    """
    past = Position(position.strategy, position.slot, position.product)
    opened = result = 0
    for number, fill in enumerate(position.fills):
        before = _Seen(past.quantity, opened, past.realised_units, number, result)
        past.apply(fill)
        if before.quantity * past.quantity < 0 or not past.quantity:
            if number >= judged and past.realised_units != opened:
                return before
            result, opened = past.realised_units - opened, past.realised_units
    return _Seen(past.quantity, opened, past.realised_units, len(position.fills), result)
