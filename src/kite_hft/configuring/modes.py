"""Layer 0, every process, cold: the brokers' streaming modes. Loads no model of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "kite": ("ltp", "quote", "full"),
    "upstox": ("ltpc", "option_greeks", "full", "full_d30"),
}
"""By broker, as they are called on the wire."""
