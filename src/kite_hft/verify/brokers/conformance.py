"""Layer 6, by hand or CI, cold: `verify conformance`: what every broker adapter has to promise, row by row.

Whoever writes an adapter for another broker runs this against it and a simulator of that broker
(docs/conformance.md says what to write, in which order). Each row is one promise: it holds, or it says what
does not. Nothing leaves this machine.

In process: adapter, simulator, limits table and websocket words are asked for everything that the engine asks
of them; then the engine lives a few short days with them. With --url the same adapter speaks over HTTP to a
simulator that listens (`python -m kite_hft.sim --broker NAME` prints its address, key and token).

With --mutants mistakes are planted into the adapter, one at a time, and the rows have to see each: so a row
that asks too little is found.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, Final

from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import SIDES, side_of
from kite_hft.verify.brokers import accounts, answers, books, days, everywhere, facts, leaving, requests
from kite_hft.verify.brokers.hunting import hunt
from kite_hft.verify.brokers.kit import ROWS, Kit, judge
from kite_hft.verify.brokers.over_http import OverHttp, refuse_elsewhere
from kite_hft.verify.campaign import CampaignError

PARTS: Final = (facts, requests, leaving, answers, books, everywhere, accounts, days)
"""Importing them fills ROWS; asked in this order."""
COMMAND: Final = "python -m kite_hft.verify conformance"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--broker", default="kite", help=f"one of {', '.join(sorted(SIDES))} (default kite)")
    made.add_argument(
        "--side", default="", metavar="MODULE:NAME", help="a BrokerSide that is in no table yet, instead"
    )
    made.add_argument("--row", default="", metavar="NAME", help="only this row")
    made.add_argument("--quick", action="store_true", help="leave out the days")
    made.add_argument(
        "--mutants",
        action="store_true",
        help="plant mistakes into the adapter: does the kit see each of them?",
    )
    made.add_argument("--url", default="", help="and over HTTP: a simulator on this machine")
    made.add_argument("--api-key", default="", help="its key")
    made.add_argument("--access-token", default="", help="its token")
    return made


def chosen_side(options: argparse.Namespace) -> BrokerSide:
    """The side that is asked.

    Raises:
        CampaignError: there is none of that name.
    """
    if not options.side:
        if options.broker not in SIDES:
            raise CampaignError(f"no broker {options.broker!r}: one of {', '.join(sorted(SIDES))}, or --side")
        return side_of(options.broker)
    module, _, name = options.side.partition(":")
    if not module or not name:
        raise CampaignError(f"--side {options.side}: MODULE:NAME is wanted, as mybroker.side:MY_SIDE")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CampaignError(f"--side {options.side}: {error}") from None
    if not isinstance(found, BrokerSide):
        raise CampaignError(f"--side {options.side} is no BrokerSide (sim/brokers/side.py)")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Ask all rows: a table on the standard error, one JSON line. Returns 1 when one does not hold."""
    options = parser().parse_args(argv)
    began = time.monotonic()
    try:
        side = chosen_side(options)
        if options.url:
            refuse_elsewhere(options.url, options.access_token)
        if options.mutants:
            return hunted(side)
        found = run(side, only=options.row, quick=options.quick)
        if options.url:
            found.append(over_http(side, options))
    except CampaignError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    failed = [one["row"] for one in found if not one["ok"]]
    told = {
        "campaign": "conformance", "broker": side.name, "ok": not failed, "rows": len(found),
        "failed": failed, "checks": sum(one["checks"] for one in found), "without": dict(side.without),
        "closed": dict(side.closed), "found": found, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    if failed:
        chosen = f"--side {options.side}" if options.side else f"--broker {side.name}"
        told["replay"] = f'{COMMAND} {chosen} --row "{failed[0]}"'
    print(json.dumps(told))
    return int(bool(failed))


def run(side: BrokerSide, *, only: str = "", quick: bool = False) -> list[dict[str, Any]]:
    """What each row found, told as it comes.

    Raises:
        CampaignError: no row has that name.
    """
    order = [part.__name__ for part in PARTS]
    table = sorted(ROWS, key=lambda one: order.index(one.check.__module__))
    rows = [one for one in table if only in ("", one.name)]
    rows = [one for one in rows if not (quick and one.check.__module__ == days.__name__)]
    if not rows:
        raise CampaignError(f"no row {only!r}; there are: {', '.join(one.name for one in table)}")
    kit, found = _kit_of(side), []
    for one in rows:
        result = judge(kit, one)
        show(result)
        found.append(result)
    return found


def _kit_of(side: BrokerSide) -> Kit:
    """Raises CampaignError: adapter, simulator or limits cannot even be made; says whose word that is."""
    try:
        return Kit(side)
    except Exception as error:  # of code that is still being written
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise CampaignError(
            f"{side.name} cannot be made: {type(error).__name__}: {error} ({at.filename}, line {at.lineno}); "
            "what a side needs, in which order: docs/conformance.md"
        ) from error


def hunted(side: BrokerSide) -> int:
    """`--mutants`: one JSON line; 1 when a mistake is seen by no row. Raises CampaignError: as `run`."""
    began = time.monotonic()
    _kit_of(side)
    found = hunt(side, [one for one in ROWS if one.check.__module__ != days.__name__])
    unseen = [one["mutant"] for one in found if not one["row"]]
    for one in found:
        print(f"{'seen' if one['row'] else 'NOT SEEN':9} {one['mutant']:60} {one['row']}", file=sys.stderr)
    told = {
        "campaign": "conformance", "broker": side.name, "ok": not unseen, "mutants": len(found),
        "unseen": unseen, "found": found, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    print(json.dumps(told))
    return int(bool(unseen))


def over_http(side: BrokerSide, options: argparse.Namespace) -> dict[str, Any]:
    """The row over HTTP. Raises CampaignError: nobody answers."""
    session = OverHttp(side, options.url.rstrip("/"), options.api_key, options.access_token)
    try:
        session.run()
    finally:
        session.close()
    result = {
        "row": "over http", "promise": "the same over the engine's transport, to a simulator that listens",
        "ok": not session.said, "checks": session.checks, "wrong": session.said,
    }  # fmt: skip
    show(result)
    return result


def show(result: dict[str, Any]) -> None:
    """One row for people."""
    word = "holds" if result["ok"] else "FAILS"
    print(f"{word}  {result['row']:32} {result['checks']:6}  {result['promise']}", file=sys.stderr)
    for text in result["wrong"]:
        print(f"         {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
