"""Layer 6, by hand or CI, cold: `verify rules`: a strategy's day under the dated rules, before it is lived.

The strategy trades synthetic prices of six instruments (closing-auction shares, other shares, a stock future,
a stock option) through whole days: the days before and after the closing auction began, the day asked for,
its Muhurat evening, an expiry, a share locked at a 2 % limit, a market halted at 11:03, a broker that does
not answer near the close. Each day is rehearsed twice: with the engine, whose gate and end of the day know
the rules, and blind, where every order goes out and only exchange and broker say no. The table says which
orders were refused, by whom and by which law, which positions were stranded, and what was penalised, in
rupees.

Without --strategy and --config it is the demo's strategy. --config takes strategies and parameters from
there (form A); --strategy path/to/file.py:Class or package.module:Class is one of your own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.sessions import CalendarError
from kite_hft.settings import SettingsError, load_settings
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.registry import UnknownStrategy, strategy_class
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.days.rehearsal import Outcome, Rehearsal, Scenario, scenarios

DAY: Final = dt.date(2026, 11, 20)
DEMO: Final = {"threshold": 0.0005, "warmup": 20, "quantity": 50, "retry_ticks": 10, "flatten_at": ""}
TICK_S: Final = 15.0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify rules", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add_broker(made)
    made.add_argument("--date", type=dt.date.fromisoformat, default=DAY, help=f"the day (default {DAY})")
    made.add_argument("--strategy", default="", help="a strategy of form A; default: the demo's")
    made.add_argument("--config", type=Path, help="a configuration: its first strategy and its parameters")
    made.add_argument("--seed", type=int, default=1, help="of the prices")
    made.add_argument("--tick-s", type=float, default=TICK_S, help="seconds between ticks (default 15)")
    made.add_argument("--only", default="", help="one scenario, by a part of its name")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Rehearse; a table on stderr, one JSON line on stdout. Returns 2 when it cannot be done."""
    options = parser().parse_args(argv)
    try:
        make = maker(options.strategy, options.config)
        wanted = [s for s in scenarios(options.date) if options.only.lower() in s.name.lower()]
        if not wanted:
            raise ValueError(f"no scenario has {options.only!r} in its name")
        found = run(wanted, make, options.seed, options.tick_s, side_of(options.broker))
    except (SettingsError, UnknownStrategy, CalendarError, ValueError) as error:
        print(f"verify rules: {error}", file=sys.stderr)
        return 2
    print(table(found), file=sys.stderr)
    strategy = options.strategy or (str(options.config) if options.config else "kalman_simple of the demo")
    words = {"campaign": "rules", "broker": options.broker, "date": str(options.date), "strategy": strategy}
    print(json.dumps(words | found))
    return int(not found["ok"])


def maker(strategy: str, config: Path | None) -> Callable[[], BaseStrategy]:
    """Makes a fresh strategy for each rehearsal.

    Raises:
        UnknownStrategy, SettingsError: it cannot be made, and why.
    """
    name, params = strategy or "kalman_simple", dict(DEMO) if not strategy else {}
    if config is not None:
        chosen = load_settings(config).strategies
        if not chosen:
            raise SettingsError(f"{config} names no strategy")
        name, params = strategy or chosen[0].name, dict(chosen[0].params)
    made = strategy_class(name, "A")

    def make() -> BaseStrategy:
        found = made(**params)
        assert isinstance(found, BaseStrategy)
        return found

    return make


def run(
    wanted: Sequence[Scenario], make: Callable[[], BaseStrategy], seed: int, tick_s: float = TICK_S,
    broker: BrokerSide = KITE_SIDE,
) -> dict[str, Any]:  # fmt: skip
    """All rehearsals. ok: with the engine no order that it let out was refused for a law of the day, and
    nothing was penalised that a live line could have avoided."""
    began, done, told = time.monotonic(), 0, []
    for scenario in wanted:
        for blind in (False, True):
            outcome = Rehearsal(scenario, make, seed, tick_s, blind=blind, broker=broker).run()
            told.append(_words(scenario, outcome, blind=blind))
            done += 1
            show_progress(done, 2 * len(wanted), f"{time.monotonic() - began:.0f} s")
    with_engine = [day for day in told if not day["blind"] and day["avoidable"]]
    ok = not any(row["by"] != "our gate" for day in with_engine for row in day["rows"])
    return {"ok": ok, "days": told, "seconds": round(time.monotonic() - began, 1)}


UNAVOIDABLE: Final = frozenset({"2 % lock", "halt at 11:03", "broker outage"})
"""Here exchange or broker say no, whatever the engine knows."""


def _words(scenario: Scenario, outcome: Outcome, *, blind: bool) -> dict[str, Any]:
    rows = [
        {"kind": r.kind, "by": r.by, "what": r.what, "law": r.law, "n": r.n, "rupees": r.paise / 100}
        for r in outcome.rows
    ]
    sums = {
        kind: round(sum(r.paise for r in outcome.rows if r.kind == kind) / 100, 2)
        for kind in ("refused", "stranded", "penalised")
    }
    sums["charges"] = round(outcome.charges_paise / 100, 2)
    return {
        "scenario": scenario.name, "day": str(scenario.day), "blind": blind, "note": scenario.note,
        "avoidable": scenario.name not in UNAVOIDABLE, "orders": outcome.orders, "filled": outcome.filled,
        "rupees": sums, "rows": rows,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for day in found["days"]:
        how = "blind" if day["blind"] else "with the engine"
        lines.append(
            f"\n{day['scenario']} ({day['day']}), {how}: {day['orders']} orders, {day['filled']} filled, "
            f"charges Rs {day['rupees']['charges']:,.2f}"
        )
        if day["note"] and not day["blind"]:
            lines.append(f"  {day['note']}")
        for row in day["rows"]:
            lines.append(
                f"  {row['kind']:9} {row['n']:4} x  Rs {row['rupees']:>14,.2f}  {row['by']}: {row['what']}\n"
                f"{'':37}{row['law']}"
            )
        if not day["rows"]:
            what = "nothing refused, stranded or penalised" if day["orders"] else "it asked for no order"
            lines.append(f"  {what}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
