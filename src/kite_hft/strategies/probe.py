"""Layer 2, compute, hot: a strategy that trades nothing and measures the way to ORDERS.

It wishes a PROBE on every `every`-th number of its ring, so that every N-th tick of a worker that
drains one ring starts a message on the whole way from the socket to the order process. ORDERS
counts it (orders.probes in report.json) and does nothing else: no risk check, no journal, no call.

The tick's number in its ring decides, not a count of its own: batch size and restarts change nothing,
and there is no state to lose. Where `instruments` of the strategy leave some out, only those that
stay can probe. Form B only: what is measured is the engine, not Python.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np

from kite_hft.layout import IntentKind
from kite_hft.strategies.compiled import CompiledStrategy

PROBE: Final = int(IntentKind.PROBE)
"""A plain integer: numba freezes it into the machine code."""


def on_tick(tick, row, state, position, params, out):  # type: ignore[no-untyped-def]
    """One PROBE, or nothing."""
    if tick.seq % params.every:
        return 0
    out[0].kind = PROBE
    return 1


def on_order(event, state, position):  # type: ignore[no-untyped-def]
    """Nothing is told of a probe."""


class ProbeCompiled(CompiledStrategy):
    """Form B.

    every: a PROBE for each so many ticks, at least 1.

    Raises:
        ValueError: `every` below 1.
    """

    name: ClassVar[str] = "probe"
    PARAMS = np.dtype([("every", "<u8")])
    STATE = np.dtype([("unused", "u1")])
    on_tick = staticmethod(on_tick)
    on_order = staticmethod(on_order)

    def __init__(self, **params: Any) -> None:
        every = params.setdefault("every", 100)
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every {every!r}: a whole number from 1 on")
        super().__init__(**params)
