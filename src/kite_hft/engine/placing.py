"""Layer 5, supervisor and children, cold: how each stage waits for work, and on which core it runs."""

from __future__ import annotations

from kite_hft.settings import Settings


def wait_of(settings: Settings, stage: str) -> str:
    """How a stage ("feed", "compute" or "orders") waits: "spin", "yield", "park" or "adaptive"."""
    chosen = dict(settings.performance.waits).get(stage, settings.performance.wait)  # type: ignore[call-overload]
    return "adaptive" if chosen == "auto" else str(chosen)
