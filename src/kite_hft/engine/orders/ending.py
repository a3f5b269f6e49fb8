"""Layer 5, orders process, cold: an orderly end: what is under way is seen through, for so long at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from kite_hft.engine.processes.awake import Awake

STOP_S: Final = 10.0
FLATTEN_S: Final = 45.0
"""Seconds awake: where the machine stands still in between nothing has been given up."""


class Stage(Protocol):
    """An order stage that has begun to stop."""

    @property
    def idle(self) -> bool: ...

    @property
    def flattening(self) -> bool: ...


def see_through(stage: Stage, one_round: Callable[[], None], mono_ns: Callable[[], int]) -> None:
    """Go on until nothing of `stage` is under way, or its time is over."""
    longest_s, awake = FLATTEN_S if stage.flattening else STOP_S, Awake(mono_ns)
    while not stage.idle and awake.look() < longest_s:
        one_round()
