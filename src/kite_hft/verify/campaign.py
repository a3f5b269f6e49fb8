"""Layer 6, campaigns, cold: places, the refusal to start and the bar on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
CONFIG: Final = ROOT / "config"
KITE_RULES: Final = CONFIG / "rules/kite_2026-04-01.yaml"
FACTS: Final = {
    "calendar": str(CONFIG / "calendar/india.yaml"),
    "rules": str(KITE_RULES),
    "market": str(CONFIG / "rules/market_2026-08-03.yaml"),
    "charges": str(CONFIG / "rules/charges_zerodha_2026-04-01.yaml"),
}
"""The dated files that an engine's `trading` section names."""
WIDTH: Final = 40


class CampaignError(Exception):
    """The campaign could not be carried out; the message says what did not come."""


def show_progress(done: int, whole: int, what: str = "") -> None:
    """A bar on the terminal; nothing where nobody looks."""
    if sys.stderr.isatty():
        filled = WIDTH * min(done, whole) // max(whole, 1)
        end = "\n" if done >= whole else ""
        bar = "#" * filled + "." * (WIDTH - filled)
        print(f"\r[{bar}] {done:,} of {whole:,} {what}", end=end, file=sys.stderr, flush=True)
