"""Layer 3, every process, cold: the face of a stage.

A stage is stepped: by a process of its own, with others in one process, or by the simulated
world under a made-up clock. It knows no socket and no clock; engine hands everything in.
"""

from __future__ import annotations

from typing import Protocol


class Stage(Protocol):
    """What engine and world may do with a stage."""

    name: str

    def start(self) -> None:
        """Ready to step; may take long (replay, reconciliation)."""

    def step(self, now_ns: int) -> int:
        """Do what is due at `now_ns` (CLOCK_MONOTONIC); returns how much was done, 0: idle."""

    def close(self) -> object:
        """Hand on what is left; a stage may answer with what stays open."""
