"""Layer 6, by hand and CI, cold: does the gate refuse what it must, and nothing else?

`python -m kite_hft.verify risk` asks the real order stage every case of cases.py: for each control
at least one order that must pass and one that must be refused, with the name of the reason and the
numbers in its text. Then `--random N` made-up situations, each judged by the stage's gate and by a slow
reading of the rules (tests/reference/risk_rules.py): they agree on what passes, and the reason given is
one of those that the reading finds.

    --mutation   how many small changes of the code the unit tests find (mutation.py)
    --bypass     that no order gets past the gate (bypass.py)

One JSON line on standard output; exit code 0 only when everything held.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections import Counter
from typing import Any, Final

from kite_hft.layout import IntentKind
from kite_hft.sim.brokers.side import Call
from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.brokers.choosing import add_broker, words_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.risk import mutation
from kite_hft.verify.risk.bench import ASK, Bench
from kite_hft.verify.risk.cases import Case, cases_of
from kite_hft.verify.risk.situations import differ

TERMS: Final = ("slot", "side", "product", "order_type")
ASKED: Final = ("C1", "C3", "C4", "C5", "C6", "C7", "C9", "C10", "C14", "C16", "C20", "C21", "C22", "C23",
                "C24", "C26", "C27", "C28", "C29", "law", "form")  # fmt: skip
"""Controls that are checks before an order leaves. The others: rates, tags, addresses and sessions (C2, C11,
C13, C15, C17), trades and records (C8, C18, C19), the kill itself (C12), conversions (C25, not offered)."""


def wrong(case: Case) -> str:
    """What is wrong with the answer to a case; "" when nothing is."""
    bench = Bench(**case.given)
    if case.given.get("before"):
        bench.sent()  # those that were to pass before
    refusal = bench.ask(**case.ask)
    where = f"{case.control}, {case.what}"
    if refusal is None:
        return f"{where}: passed, {case.reason} was due" if case.reason else unlike(case, bench.sent(), where)
    if left := bench.sent():
        return f"{where}: refused, and {left} left all the same"
    reason, text = refusal
    if reason != case.reason:
        return f"{where}: {reason} ({text}), due was {case.reason or 'that it passes'}"
    missing = [word for word in case.words if word not in text]
    return f"{where}: {text!r} does not tell {missing}" if missing else ""


def unlike(case: Case, calls: list[Call], where: str) -> str:
    """How the orders that left differ from the one that was asked for; "" when they do not."""
    asked = {**ASK, **case.ask}
    if asked["kind"] != IntentKind.PLACE:
        return f"{where}: {calls} left" if calls else ""
    terms = tuple(int(asked[name]) for name in TERMS)
    quantity = sum(call.quantity for call in calls)
    told = {tuple(int(getattr(call, name)) for name in TERMS) for call in calls}
    if told == {terms} and 0 < quantity <= asked["qty"]:
        return ""
    return f"{where}: {dict(zip(TERMS, terms, strict=True))} of {asked['qty']} passed, {calls} left"


def matrix(broker: str = "kite") -> dict[str, Any]:
    """All cases: how many of each control passed and were refused as due, and what is wrong."""
    told: list[str] = []
    accepts: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    cases = cases_of(broker)
    for number, case in enumerate(cases):
        show_progress(number + 1, len(cases), "cases")
        if text := wrong(case):
            told.append(text)
        else:
            (refusals if case.reason else accepts)[case.control] += 1
    told += [f"{c}: nothing that must pass" for c in ASKED if not accepts[c]]
    told += [f"{c}: nothing that must be refused" for c in ASKED if not refusals[c]]
    return {
        "cases": len(cases),
        "controls": {c: [accepts[c], refusals[c]] for c in ASKED},
        "reasons": sorted({case.reason for case in cases if case.reason}),
        "wrong": told,
    }


def main(argv: list[str]) -> int:
    """Run the verification; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify risk", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_broker(parser)
    parser.add_argument(
        "--random", type=lambda t: int(float(t)), default=2000, help="made-up situations (2000)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="replay only this made-up situation")
    parser.add_argument("--bypass", action="store_true", help="can an order get past the gate?")
    parser.add_argument("--mutation", action="store_true", help="how much do the unit tests see?")
    wanted, rest = parser.parse_known_args(argv)
    if wanted.mutation:
        return mutation.main([*rest, "--seed", str(wanted.seed)])
    if wanted.bypass:
        return int(
            importlib.import_module("kite_hft.verify.risk.bypass").main([*rest, "--broker", wanted.broker])
        )
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    report: dict[str, Any] = {"verify": "risk", "broker": wanted.broker, "seed": wanted.seed}
    report |= {} if wanted.case is not None else matrix(wanted.broker)
    numbers = range(wanted.random) if wanted.case is None else [wanted.case]
    report["random"] = differ(
        wanted.seed, numbers, lambda n: show_progress(n, len(numbers), "situations"), broker=wanted.broker
    )
    found = report["random"]["differ"]
    report["ok"] = not report.get("wrong") and not found
    if not report["ok"]:
        case = f" --case {found[0]['case']}" if found else ""
        words = words_of(side_of(wanted.broker))
        report["replay"] = f"python -m kite_hft.verify risk{words} --seed {wanted.seed}{case}"
    print(json.dumps(report))
    return 0 if report["ok"] else 1
