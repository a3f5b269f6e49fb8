"""Layer 6, a user's program, cold: what a DataFeedService starts from: a file, settings, or the defaults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import kite_hft
from kite_hft.app.face.config import VARIABLE, find_config
from kite_hft.configuring.absolute import FILE_KEYS
from kite_hft.settings import Settings, SettingsError, load_settings

SIMULATED_DAY: Final = dt.date(2026, 11, 20)
"""A trading day for the simulator that is started without any configuration, whatever day it is."""
RING: Final = 1 << 18
"""Slots of the ring without a configuration: 50 MB of shared memory."""


def base_settings(
    given: Settings | Path | str | None, environ: Mapping[str, str]
) -> tuple[Settings, Path | None]:
    """(settings, the file that they come from).

    Raises:
        SettingsError: no such file, or it cannot be used.
    """
    if isinstance(given, Settings):
        return given, None
    path = Path(given) if given is not None else find_config(environ)
    return (load_settings(path), path.resolve()) if path is not None else (without_file(), None)


def without_file() -> Settings:
    """Defaults, with the rules that come with the project.

    Raises:
        SettingsError: they are not at hand.
    """
    folder = next((f for f in rule_folders() if (f / "rules").is_dir()), None)
    if folder is None:
        raise SettingsError(
            "without a configuration file the market's rules are not known: run in the project's folder, "
            f"which has config/rules, or set ${VARIABLE} to a configuration"
        )
    plain = Settings()
    trading: dict[str, Any] = {name: folder / getattr(plain.trading, name) for name in FILE_KEYS}
    return Settings.model_validate(
        {
            "trading": trading,
            "performance": {"ring_buffer_size": RING},
            "simulator": {"instruments": 20, "rate": 5},
        }
    )


def rule_folders() -> tuple[Path, ...]:
    """Where config/ may be: here, or in the checkout that this package was built in."""
    return Path("config").resolve(), Path(str(kite_hft.__file__)).resolve().parents[2] / "config"


def with_login(base: Settings, broker: str | None, api_key: str, access_token: str) -> Settings:
    """The settings with a broker and the keys of a login; a simulator of our own gets its trading day.

    Raises:
        SettingsError: no such broker, or keys that are no text.
    """
    if broker is not None and broker not in ("kite", "upstox"):
        raise SettingsError(f"broker {broker!r}: choose kite or upstox")
    data = base.model_dump()
    if broker is not None:
        data |= {"broker": broker, "data_broker": None}
        if broker != base.broker:  # its own rules and charges
            from kite_hft.configuring.models.broker import FILES

            for key, file in FILES[broker].items():
                data["trading"][key] = getattr(base.trading, key).parent / file.name
    name = broker or base.data_brokers[0]
    given = {"api_key": api_key, "access_token": access_token}
    for key, value in given.items():
        if not isinstance(value, str):
            raise SettingsError(f"{key}: text is expected, not {type(value).__name__}")
    data[name] |= {key: value for key, value in given.items() if value}
    keys = any(data[b]["access_token"] for b in ("kite", "upstox"))
    if base.mode == "sim" and not keys and base.trading.date is None:
        data["trading"]["date"] = SIMULATED_DAY
        data["simulator"]["exchange_time"] = data["simulator"]["exchange_time"] or f"{SIMULATED_DAY}T10:00:00"
    return Settings.model_validate(data)
