"""Layer 4, simulator, cold: the dated files that the simulated broker goes by when none are named.

They stand in config/ of the source tree, or of the folder the program is started in.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path
from typing import Any, Final

from kite_hft.configuring.yaml_files import SettingsError, load_yaml
from kite_hft.trading.market_rules import MarketRules, market_rules

MARKET_RULES: Final = "rules/market_2026-08-03.yaml"
CALENDAR: Final = "calendar/india.yaml"


@cache
def default_market_rules(day: dt.date = dt.date.max, broker: str = "") -> MarketRules:
    """The market rules of a day; by default the newest rows. broker: with his own rows, where he has any.

    Raises:
        SettingsError: no config folder, or the file cannot be read.
        MarketRulesError: the file cannot be used.
    """
    return market_rules(load_yaml(_find(MARKET_RULES)), day, broker)


@cache
def default_calendar() -> tuple[dict[str, Any], ...]:
    """The rows of the exchange calendar.

    Raises:
        SettingsError: no config folder, or the file cannot be read.
    """
    return tuple(load_yaml(_find(CALENDAR)))


def _find(name: str) -> Path:
    folders = [Path(__file__).resolve().parents[4] / "config", Path.cwd() / "config"]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise SettingsError(
        f"config/{name} is in none of {', '.join(str(f) for f in folders)}; "
        "start the program in a folder that has the project's config/ beside it"
    )
