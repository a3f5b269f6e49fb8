"""Layer 5, supervisor, cold: what a run takes out of the vault: the keys that its configuration leaves empty.

Only those of the brokers that it speaks to: paper trading needs prices alone, and gets no token that can
order. With them come the secrets of alerts (a webhook's address, Telegram's token, the heartbeat's address),
in modes paper and live: a simulation pages nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import ValidationError

from kite_hft.addresses import is_loopback
from kite_hft.configuring.models.safety import NO_SINK, SINK_SECRETS, AlertSection
from kite_hft.engine.keys.contents import ALERTS, Contents, VaultError, VaultMissing
from kite_hft.engine.keys.ends import until_ns
from kite_hft.engine.keys.password import find_password
from kite_hft.settings import Settings

SANDBOX: Final = "sandbox_token"
TOKEN: Final = "access_token"
DEFAULT: Final = "default"
TELEGRAM: Final = ("telegram_bot_token", "telegram_chat_id")
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kite": ("api_key", TOKEN),
    "upstox": ("api_key", TOKEN, SANDBOX),
}
"""What a run can take, by broker."""
LOGIN_AGAIN: Final[Mapping[str, str]] = {
    "api_key": "kite-hft credentials --broker {broker} --profile {profile} --set api_key",
    TOKEN: "kite-hft login --broker {broker} --profile {profile}",
    SANDBOX: "kite-hft login --broker {broker} --profile {profile} --sandbox",
}
"""How somebody gets it."""


def wanted(settings: Settings) -> list[tuple[str, str]]:
    """(broker, key) of all that the run needs and its configuration leaves empty."""
    brokers = settings.data_brokers if settings.mode == "paper" else settings.brokers
    found: list[tuple[str, str]] = []
    for broker in brokers:
        section = settings.kite if broker == "kite" else settings.upstox
        if settings.mode == "sim" and not is_loopback(section.api_url):
            continue  # a simulator of its own
        names = ("api_key", TOKEN) if broker == "kite" else (TOKEN,)
        found += [(broker, name) for name in names if not getattr(section, name)]
    if settings.mode == "paper" and settings.upstox.sandbox and not settings.upstox.sandbox_token:
        found.append(("upstox", SANDBOX))
    return found


def keeps_secrets(settings: Settings) -> bool:
    """Whether real secrets are in the memory of this run: a broker's keys, or addresses of alerts. The tokens
    of a simulator, which open nothing, are none."""
    return settings.mode != "sim" or any(getattr(settings.alerts, name) for name in SINK_SECRETS)


def needs_vault(settings: Settings) -> bool:
    """Whether the run needs what its configuration does not give: keys, or in mode live a way to tell a
    person."""
    return bool(wanted(settings)) or _needs_sink(settings)


def _needs_sink(settings: Settings) -> bool:
    alerts = settings.alerts
    told = alerts.hook or alerts.webhook or alerts.telegram_bot_token
    return settings.mode == "live" and not told and alerts.waive_sinks != NO_SINK


def with_sinks(settings: Settings, contents: Contents) -> Settings:
    """The settings with the alert secrets of the vault where they are empty: those of the profile, else of
    the profile default. Bot and chat of Telegram come together.

    Raises:
        VaultError: what the vault has cannot be used.
    """
    held = contents.get(f"{ALERTS}/{settings.credentials.profile}") or contents.get(f"{ALERTS}/{DEFAULT}", {})
    alerts = settings.alerts
    names = [n for n in sorted(SINK_SECRETS - set(TELEGRAM)) if not getattr(alerts, n)]
    names += TELEGRAM if not any(getattr(alerts, n) for n in TELEGRAM) else ()
    found = {name: held[name] for name in names if name in held}
    if not found or settings.mode == "sim":
        return settings
    try:
        AlertSection.model_validate(found)
    except ValueError as error:
        said = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
        raise VaultError(
            f"alerts in the vault: {said.removeprefix('Value error, ')}: kite-hft credentials --broker alerts"
        ) from None
    return settings.model_copy(update={"alerts": alerts.model_copy(update=found)})


def with_keys(
    settings: Settings, contents: Contents, now_real_ns: int | None = None, *, sinks: bool = True
) -> Settings:
    """The settings with the keys of the vault where they are empty; what the vault has not stays empty.

    now_real_ns: tokens that have ended by then are left out. Paper trading takes Upstox's analytics
    token where there is no daily one: it reads prices for a year and can do nothing else. sinks: with the
    secrets of alerts.

    Raises:
        VaultError: see with_sinks.
    """
    updates: dict[str, dict[str, str]] = {}
    for broker, name in wanted(settings) + [(b, "api_key") for b in settings.brokers if b == "upstox"]:
        section = settings.kite if broker == "kite" else settings.upstox
        values = contents.get(f"{broker}/{settings.credentials.profile}", {})
        value = _living(values, name, now_real_ns)
        if not value and (broker, name, settings.mode) == ("upstox", TOKEN, "paper"):
            value = _living(values, "analytics_token", now_real_ns)
        if value and not getattr(section, name):
            updates.setdefault(broker, {})[name] = value
    sections = {
        broker: (settings.kite if broker == "kite" else settings.upstox).model_copy(update=found)
        for broker, found in updates.items()
    }
    filled = settings.model_copy(update=sections) if sections else settings
    return with_sinks(filled, contents) if sinks else filled


def _living(values: Mapping[str, str], name: str, now_real_ns: int | None) -> str:
    end_ns = until_ns(values, name)
    ended = now_real_ns is not None and end_ns is not None and end_ns <= now_real_ns
    return "" if ended else values.get(name, "")


def shortcomings(settings: Settings, contents: Contents, now_real_ns: int) -> list[str]:
    """What the run still lacks with this vault, each with the command that mends it."""
    profile = settings.credentials.profile
    rows = []
    for broker, name in wanted(with_keys(settings, contents, now_real_ns)):
        values = contents.get(f"{broker}/{profile}", {})
        fix = LOGIN_AGAIN[name].format(broker=broker, profile=profile)
        if name in values:
            rows.append(f"{broker}/{profile}: {name} has ended at {values[f'{name}_until']}: {fix}")
        else:
            rows.append(f"{broker}/{profile}: the vault has no {name}: {fix}")
    return rows


def take_keys(
    settings: Settings,
    environ: Mapping[str, str],
    now_real_ns: int,
    *,
    fd: int | None = None,
    prompt: Callable[[], str] | None = None,
    say: Callable[[str], None] | None = None,
    sinks: bool = True,
) -> Settings:
    """The settings of a run with all keys that it needs. Without a vault they stay as they are: whoever
    makes the session names what is missing. fd, prompt, say: see `find_password`; sinks: see `with_keys`.

    Raises:
        VaultError: a vault that cannot be used, no password, or keys that are not in it.
    """
    if not needs_vault(settings):
        return settings
    from kite_hft.engine.keys.vault import default_path, read, status  # runs without a vault load none of it

    path = settings.credentials.file or default_path(environ)
    try:
        status(path)  # before anybody is asked for a password
    except VaultMissing:
        return settings
    contents = read(path, find_password(fd=fd, prompt=prompt, environ=environ, say=say))
    if settings.mode != "sim" and (rows := shortcomings(settings, contents, now_real_ns)):
        raise VaultError("; ".join(rows))
    return with_keys(settings, contents, now_real_ns, sinks=sinks)
