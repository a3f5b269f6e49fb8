"""Layer 6, by hand or CI, cold: `verify sim --mutants`: do the checkers find a bug when there is one?

Each mutant breaks one thing of the engine in this process; days are lived until the checkers say so.
One that survives its days is a hole in faults, flow or checkers, and fails the campaign.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from typing import Any, Final

from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.trading.broker import Limits
from kite_hft.verify.brokers.choosing import words_of
from kite_hft.verify.simulation.mutants_of_gate import GATE
from kite_hft.verify.simulation.mutants_of_lasting import LASTING
from kite_hft.verify.simulation.mutants_of_sending import SENDING
from kite_hft.verify.simulation.mutants_of_truth import TRUTH
from kite_hft.verify.simulation.planting import Mutant, Patches

MUTANTS: Final[tuple[Mutant, ...]] = (*SENDING, *GATE, *TRUTH, *LASTING)
SEEDS_MAX: Final = 4000
MUTANTS_MIN: Final = 30
MISFIT: Final = re.compile("the stage raised (TypeError|AttributeError|NameError)")
"""The mutant itself is broken: the engine has changed under it."""


def hunt(
    mutant: Mutant, limits: Limits, first: int = 0, most: int = SEEDS_MAX, side: BrokerSide = KITE_SIDE
) -> dict[str, Any]:
    """Days with the mutant until one breaks: {"name", "seeds", "by"}; seeds 0: it survived."""
    patches = Patches()
    try:
        mutant.plant(patches)
        for n in range(most):
            world = OrdersWorld(first + n, limits, side=side)
            world.run()
            if world.checker.breaks and MISFIT.match(world.checker.breaks[0]):
                return {"name": mutant.name, "seeds": 0, "by": f"does not fit: {world.checker.breaks[0]}"}
            if world.checker.breaks:
                return {"name": mutant.name, "seeds": n + 1, "by": world.checker.breaks[0][:160]}
    finally:
        patches.undo()
    return {"name": mutant.name, "seeds": 0, "by": ""}


def chosen(only: str) -> list[Mutant]:
    """The mutants of a name, or all."""
    return [mutant for mutant in MUTANTS if only in ("", mutant.name)]


def campaign(limits: Limits, only: str, processes: int, side: BrokerSide = KITE_SIDE) -> int:
    """All mutants; one JSON line. Returns 1 when one survives."""
    began = time.monotonic()
    rows = [hunt(one, limits, side=side) for one in chosen(only)] if only else _shared(processes, side)
    sentences = {mutant.name: mutant.sentence for mutant in MUTANTS}
    survived = [row["name"] for row in rows if not row["seeds"]]
    missing = sorted(set(sentences) - {row["name"] for row in rows}) if not only else []
    told = {
        "campaign": "sim --mutants",
        "broker": side.name,
        "mutants": len(rows),
        "caught": len(rows) - len(survived),
        "median_seeds": statistics.median([row["seeds"] for row in rows if row["seeds"]] or [0]),
        "most_seeds": max((row["seeds"] for row in rows), default=0),
        "survived": survived,
        "missing": missing,
        "found": [row | {"what": sentences[row["name"]]} for row in rows],
        "seconds": round(time.monotonic() - began, 1),
    }
    if survived:
        told["replay"] = f"python -m kite_hft.verify sim{words_of(side)} --mutants --only {survived[0]}"
    print(json.dumps(told))
    few = not only and len(rows) < MUTANTS_MIN
    return int(bool(survived or missing or few or not rows))


def _shared(processes: int, side: BrokerSide) -> list[dict[str, Any]]:
    """Each mutant in a process of its own: what one breaks is never left to the next."""
    waiting = list(reversed(MUTANTS))
    running: list[subprocess.Popen[str]] = []
    rows: list[dict[str, Any]] = []
    while waiting or running:
        while waiting and len(running) < max(1, processes):
            mutant = waiting.pop()
            command = [sys.executable, "-m", "kite_hft.verify", "sim", "--broker", side.name]
            command += ["--mutants", "--only", mutant.name]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        done = [process for process in running if process.poll() is not None]
        for process in done:
            running.remove(process)
            assert process.stdout is not None
            text = process.stdout.read()
            if text.strip():
                rows += [
                    {key: row[key] for key in ("name", "seeds", "by")} for row in json.loads(text)["found"]
                ]
            if sys.stderr.isatty():
                print(f"  {len(rows)} of {len(MUTANTS)} mutants ", end="\r", file=sys.stderr)
        time.sleep(0.05)
    return rows
