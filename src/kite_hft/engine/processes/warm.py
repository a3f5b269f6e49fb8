"""Layer 5, child processes, cold: what a child does before it knows which process it will be.

So that a restart takes no import: a spare is plain and loads the modules of all stages and the
instruments, or a worker that also loads numba and the compiled loops of the configured strategies,
where there are any. The children of a start know what they will be and load only that: ORDERS has
no event loop, and memory is saved. Only a worker imports numba. Nothing secret is known here.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any, Final

from kite_hft.loading import loading
from kite_hft.trading.instruments import InstrumentTable, read_csv

PLAIN: Final = "plain"
WORKER: Final = "worker"
FEED: Final = "feed"
ORDERS: Final = "orders"
RECORDER: Final = "recorder"
UPDATES: Final = "updates"
KIND_STAGE: Final = {
    WORKER: "compute", FEED: "feed", ORDERS: "orders", RECORDER: "recorder", UPDATES: "updates"
}  # fmt: skip
"""The stage that makes a process of this kind at the start."""
MODULES: Final = {
    PLAIN: (
        "kite_hft.engine.market.feeds",
        "kite_hft.engine.orders.process",
        "kite_hft.engine.market.recorder",
        "kite_hft.engine.market.updates",
    ),
    WORKER: ("kite_hft.engine.market.feeds", "kite_hft.engine.market.workers"),
    FEED: ("kite_hft.engine.market.feeds", "kite_hft.engine.market.workers"),
    ORDERS: ("kite_hft.engine.orders.process",),
    RECORDER: ("kite_hft.engine.market.recorder",),
    UPDATES: ("kite_hft.engine.market.updates",),
}
PAPER: Final = ("kite_hft.engine.orders.paper",)
"""More, where orders may come to an exchange in their own process."""


@functools.lru_cache(maxsize=1)
def instruments_of(path: str) -> InstrumentTable:
    """The run's instruments, read once in a process."""
    return read_csv(Path(path))


def prepare(wanted: dict[str, Any]) -> None:
    """Load what a process of this kind needs.

    wanted: kind (of MODULES), settings, instruments (path), state (path); private: real secrets will come.
    """
    with loading():
        kind = wanted["kind"]
        paper = kind in (PLAIN, ORDERS) and wanted["settings"]["mode"] == "paper"
        for name in (*MODULES[kind], *(PAPER if paper else ())):
            importlib.import_module(name)
    instruments_of(wanted["instruments"])
    if kind == WORKER:
        _load_loops(wanted)


def _load_loops(wanted: dict[str, Any]) -> None:
    from kite_hft.engine.market.strategies import make_strategy
    from kite_hft.settings import Settings
    from kite_hft.strategies.compiled import CompiledStrategy, load

    settings = Settings.model_validate(wanted["settings"])
    for section in settings.strategies:
        if section.form == "B":
            strategy = make_strategy(settings, section)
            if isinstance(strategy, CompiledStrategy):
                load(strategy, Path(wanted["state"]) / "numba")
