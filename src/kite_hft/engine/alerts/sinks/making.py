"""Layer 5, supervisor and watchdog, cold: from the configuration to the sinks.

`config` is AlertSection as plain values, so that the watchdog needs no model of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.hook import HookSink
from kite_hft.engine.alerts.sinks.sink import ATTEMPTS, Sink

CLOSE_MAX_S: Final = 20.0
"""The account stays locked meanwhile: a sink that fails must keep no next run from its start for longer."""


def make_sinks(config: Mapping[str, Any], folder: Path, clock: Clock) -> list[Sink]:
    """The configured sinks. folder: where the command's output is kept."""
    sinks: list[Sink] = []
    timeout_s = float(config["sink_timeout_s"])
    if config["hook"]:
        sinks.append(HookSink(config["hook"], config["hook_timeout_s"], folder, clock))
    if config["webhook"] or config["telegram_bot_token"]:
        from kite_hft.engine.alerts.sinks.posting import Posting, telegram, webhook

        if config["webhook"]:
            sinks.append(Posting("webhook", webhook(config["webhook"], timeout_s), clock))
        if config["telegram_bot_token"]:
            words = (config["telegram_url"], config["telegram_bot_token"], config["telegram_chat_id"])
            sinks.append(Posting("telegram", telegram(*words, timeout_s), clock))
    if config["journald"]:
        from kite_hft.engine.alerts.sinks.journald import JournaldSink

        sinks.append(JournaldSink(Path(config["journald_socket"]), clock))
    return sinks


def close_s(config: Mapping[str, Any]) -> float:
    """How long the last alerts may take: a run of the command and the next one for the same alert, or all
    attempts of a call."""
    wanted_s = max(2 * float(config["hook_timeout_s"]), ATTEMPTS * float(config["sink_timeout_s"])) + 1.0
    return min(wanted_s, CLOSE_MAX_S)


def secrets_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of the configuration that must stand in no alert and no log."""
    names = ("webhook", "telegram_bot_token", "heartbeat_url")
    return tuple(str(config[name]) for name in names if config.get(name))
