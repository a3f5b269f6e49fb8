"""Layer 2, orders process, hot: how much noise each contract and each strategy has made today.

Exchanges charge, and bar, accounts whose messages (orders, modifications, cancels) are many for few
trades. Counted is what left the machine, and each execution that was told; the levels are data
(Limits.per_contract, per_strategy). The numbers are the gate's to judge by (`traffic`); here a person
is warned. Replay makes the same counts from the journal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, NamedTuple

from kite_hft.layout import IntentKind
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.facts import Traffic

_MODIFY: Final = IntentKind.MODIFY


@dataclass(slots=True)
class Tally:
    """Of one contract or strategy since the day began."""

    messages: int = 0
    modifications: int = 0
    trades: int = 0

    def traffic(self) -> Traffic:
        return Traffic(self.messages, self.trades, self.modifications)


class Told(NamedTuple):
    """A level that was passed: what an alert says."""

    key: str
    text: str


class ConductBook:
    """The tallies of a day, by slot and by strategy."""

    def __init__(self) -> None:
        self.contracts: defaultdict[int, Tally] = defaultdict(Tally)
        self.strategies: defaultdict[int, Tally] = defaultdict(Tally)

    def restore(self, earlier: ConductBook) -> None:
        """What the day's journals tell comes before anything of this process."""
        self.contracts.update(earlier.contracts)
        self.strategies.update(earlier.strategies)

    def called(self, kind: int, slot: int, strategy: int) -> None:
        """An order, a modification or a cancel has left."""
        modified = kind == _MODIFY
        for tally in (self.contracts[slot], self.strategies[strategy]):
            tally.messages += 1
            tally.modifications += modified

    def traded(self, slot: int, strategy: int) -> None:
        """An execution was told."""
        self.contracts[slot].trades += 1
        self.strategies[strategy].trades += 1

    def traffic(self, strategy: int, slot: int) -> tuple[Traffic, Traffic]:
        """Of the contract and of the strategy: what the gate's facts ask for."""
        return self.contracts[slot].traffic(), self.strategies[strategy].traffic()

    def warnings(self, slot: int, strategy: int, per_contract: Conduct, per_strategy: Conduct) -> list[Told]:
        """What stands above its warning level, of one contract and one strategy."""
        found = []
        for what, number, tally, levels in (
            ("contract", slot, self.contracts[slot], per_contract),
            ("strategy", strategy, self.strategies[strategy], per_strategy),
        ):
            if text := noise(tally, levels):
                found.append(Told(f"{what} {number}", f"{what} {number}: {text}"))
        return found


def noise(tally: Tally, levels: Conduct) -> str:
    """Which warning level `tally` has passed, with the numbers; empty: none."""
    if levels.modifications_warn and tally.modifications >= levels.modifications_warn:
        return f"{tally.modifications} modifications today >= {levels.modifications_warn}"
    if levels.ratio_warn and tally.messages >= max(1, levels.messages_min):
        ratio = tally.messages / max(1, tally.trades)
        if ratio >= levels.ratio_warn:
            numbers = f"{tally.messages} messages to {tally.trades} trades"
            return f"{numbers} today: {ratio:.0f} >= {levels.ratio_warn:g}"
    return ""
