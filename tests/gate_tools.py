"""The gate's quick way (_risk.Plain) over made-up parts that say what a Context says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from kite_hft._risk import Plain
from kite_hft._tally import Tally
from kite_hft.clock import ManualClock
from kite_hft.trading.broker import Funds
from kite_hft.trading.gate.checks import CUT_QUIET_NS, Context, RiskLimits
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.limits import legal_protection
from kite_hft.trading.gate.risk import NEEDED, plain_rows


def plain_of(context: Context, limits: RiskLimits, **other: Any) -> Plain:
    """other: parts that take the place of the made-up ones."""
    tick = (context.ref_px, context.tick_seq, context.now_ns - context.age_ns)
    funds = None if context.funds_paise is None else Funds(context.funds_paise, 0, 0, 0, 0, 0)
    parts: dict[str, Any] = {
        "ports": SimpleNamespace(
            clock=ManualClock(context.now_ns, context.now_ns),
            latest=SimpleNamespace(
                look=lambda slot: tick if context.age_ns >= 0 else None, last_px=context.mark
            ),
            fresh=lambda slot: context.fresh,
        ),
        "stage": SimpleNamespace(
            active=context.active, stopping=False, reader=SimpleNamespace(funds=funds)
        ),
        "states": SimpleNamespace(
            token_dead=context.token_dead, killed=context.killed, reducing=context.reducing_only, holds={},
            market_halted=context.market_halted,
        ),
        "outbox": SimpleNamespace(halted=context.halted, hung=set()),
        "facts": replace(context.facts, view=lambda slot, real_ns: context.view),
        "tally": context.tally or Tally(limits),
        "guards": context.guards or Guards(limits),
    }  # fmt: skip
    return Plain(
        instruments=context.instruments, rows=plain_rows(context.instruments), limits=limits,
        book=context.book, conduct=None, protected=legal_protection(limits.market_protection),
        cut_quiet_ns=CUT_QUIET_NS, opening=NEEDED[False], exit=NEEDED[True], **(parts | other),
    )  # fmt: skip
