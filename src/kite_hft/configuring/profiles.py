"""Layer 0, supervisor, cold: what `profile:` sets. Whatever a file or a variable says comes after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "speed": {
        "performance": {
            "worker_threads": 8,
            "tick_aggregation_interval": 50,
            "use_mmap": True,
            "pin": "auto",
            "huge_pages": True,
        },
    },
    "lean": {
        "performance": {"ring_buffer_size": 100_000, "buffer_size": 1000, "queue_size": 1024},
        "datafeed": {"store_ticks": False, "store_bars": False},
        "supervision": {"spares": False},
    },
}
"""speed: processes on cores of their own, rings in huge pages. lean: small rings, no process in reserve,
nothing recorded."""
