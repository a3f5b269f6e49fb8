"""Layer 2, orders process, cold: what the limits of a day have counted, from one run of the day to the next.

A run that has ended with nothing open is not gone on with: its journal is not replayed. Its sums of the day
are taken up all the same. They stand in its END record, and in the START record of the next run on the same
broker, from where replay takes them. A process that died has written none: its records tell the same.

Instruments are named by token and strategies by name, for the next run may number them otherwise. What it
does not trade is handed on as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kite_hft._tally import VALUE_MAX, Tally
from kite_hft.sessions import ist_date
from kite_hft.trading.gate.checks import value_of
from kite_hft.trading.gate.guards import Guards, Pauses
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.recovery.opened import Opened
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.conduct import Tally as Messages

Counts = tuple[int, int, int]
"""Messages, modifications, trades."""


class Cooling(msgspec.Struct, frozen=True):
    """A strategy opens nothing in an instrument until then (CLOCK_REALTIME ns)."""

    strategy: str
    token: int
    until_ns: int


class DaySoFar(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sums of an IST day. Times are CLOCK_REALTIME ns.

    runs: numbers of the runs that it tells of. gross_paise: all that was opened. contracts, strategies: by
    token, and by name. peak_paise: the best net result of the day; drawdown: why it has tripped. losses_ns:
    when positions were closed at a loss, as far as they still count. paused_until_ns: nothing opens before.
    """

    day: str
    runs: tuple[int, ...] = ()
    gross_paise: int = 0
    contracts: dict[int, Counts] = {}
    strategies: dict[str, Counts] = {}
    peak_paise: int = 0
    drawdown: str = ""
    losses_ns: tuple[int, ...] = ()
    cooling: tuple[Cooling, ...] = ()
    paused_until_ns: int = 0


def packed(found: DaySoFar) -> dict[str, Any]:
    """As it stands in a record."""
    told: dict[str, Any] = msgspec.to_builtins(found, str_keys=True)
    return told


def read(data: Mapping[str, Any]) -> DaySoFar:
    """What a record says.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(data, DaySoFar, str_keys=True)


def of_today(found: DaySoFar, now_real_ns: int) -> bool:
    """A new day begins from zero."""
    return found.day == ist_date(now_real_ns).isoformat()


def labels(names: Mapping[int, str], numbers: Iterable[int] = ()) -> dict[int, str]:
    """Strategy number -> its name, told apart where several have one; without a name it is the number."""
    found: dict[int, str] = {}
    for number in sorted({*names, *numbers}):
        name, times = names.get(number, str(number)), 1
        while (label := name if times == 1 else f"{name}/{times}") in found.values():
            times += 1
        found[number] = label
    return found


class Sums:
    """Where the sums of one order stage are kept. ahead_ns: CLOCK_REALTIME less CLOCK_MONOTONIC."""

    def __init__(
        self,
        tally: Tally,
        guards: Guards,
        conduct: ConductBook,
        instruments: InstrumentTable,
        names: Mapping[int, str],
        ahead_ns: int,
    ) -> None:
        self._tally, self._guards, self._conduct = tally, guards, conduct
        self._instruments, self._names, self._ahead_ns = instruments, names, ahead_ns

    def recount(
        self,
        before: DaySoFar | None,
        openings: Iterable[Opened],
        guards: Iterable[tuple[int, Mapping[str, Any]]],
    ) -> None:
        """Take up what the journal tells (recovered.py); its calls and trades are counted already."""
        if before is not None:
            self.take_up(before)
        for at_ns, strategy, slot, side, quantity, px, placed in openings:
            value = value_of(px, quantity, self._instruments[slot])
            self._tally.add(strategy, slot, side, quantity, value, at_ns - self._ahead_ns, placed=placed)
        for at_ns, data in guards:
            self._guards.fold(data, at_ns - self._ahead_ns)

    def take_up(self, found: DaySoFar) -> None:
        """Count on from there."""
        slots = {token: row.slot for token, row in self._instruments.by_token.items()}
        numbers = {label: number for number, label in labels(self._names, _unnamed(found)).items()}
        self._tally.carry(found.gross_paise)
        _add(self._conduct.contracts, found.contracts, slots)
        _add(self._conduct.strategies, found.strategies, numbers)
        cooling = {
            (numbers[row.strategy], slots[row.token]): row.until_ns - self._ahead_ns
            for row in found.cooling
            if row.strategy in numbers and row.token in slots
        }
        losses = tuple(ns - self._ahead_ns for ns in found.losses_ns)
        until_ns = found.paused_until_ns and found.paused_until_ns - self._ahead_ns
        self._guards.carry(found.peak_paise, found.drawdown, Pauses(losses, cooling, until_ns))

    def now(self, before: DaySoFar | None, runs: Iterable[int], now_ns: int) -> DaySoFar:
        """How they stand (CLOCK_MONOTONIC). before: what was taken up, for what this run does not trade."""
        tokens = {row.slot: token for token, row in self._instruments.by_token.items()}
        names = labels(self._names, self._conduct.strategies)
        other = before or DaySoFar("")
        pauses, real_ns = self._guards.pauses(now_ns), now_ns + self._ahead_ns
        known, mine = set(tokens.values()), set(names.values())
        cooling = [
            row for row in other.cooling
            if row.until_ns > real_ns and not (row.token in known and row.strategy in mine)
        ]  # fmt: skip
        for (strategy, slot), until_ns in pauses.cooling.items():
            row = Cooling(names.get(strategy, str(strategy)), tokens[slot], until_ns + self._ahead_ns)
            cooling.append(row)
        return DaySoFar(
            day=ist_date(real_ns).isoformat(),
            runs=tuple(sorted({*runs, *other.runs})),
            gross_paise=min(self._tally.gross_paise, VALUE_MAX),
            contracts={t: c for t, c in other.contracts.items() if t not in known}
            | _counts(self._conduct.contracts, tokens),
            strategies={n: c for n, c in other.strategies.items() if n not in mine}
            | _counts(self._conduct.strategies, names),
            peak_paise=self._guards.peak_paise,
            drawdown=self._guards.drawdown,
            losses_ns=tuple(ns + self._ahead_ns for ns in pauses.losses),
            cooling=tuple(sorted(cooling, key=lambda row: (row.strategy, row.token))),
            paused_until_ns=pauses.until_ns and pauses.until_ns + self._ahead_ns,
        )


def _unnamed(found: DaySoFar) -> set[int]:
    """Numbers of strategies that bore no name."""
    names = {*found.strategies, *(row.strategy for row in found.cooling)}
    return {int(name) for name in names if name.isdecimal()}


def _add(into: dict[int, Messages], found: Mapping[Any, Counts], numbers: Mapping[Any, int]) -> None:
    for name, (messages, modifications, trades) in found.items():
        if (number := numbers.get(name)) is not None:
            row = into[number]
            row.messages += messages
            row.modifications += modifications
            row.trades += trades


def _counts(tallies: Mapping[int, Messages], names: Mapping[int, Any]) -> dict[Any, Counts]:
    found = {n: (row.messages, row.modifications, row.trades) for n, row in tallies.items()}
    return {names[n]: counts for n, counts in sorted(found.items()) if any(counts)}
