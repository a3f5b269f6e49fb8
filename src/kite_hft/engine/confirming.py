"""Layer 5, supervisor, cold: mode live and its two keys: the configuration, and a word given at each start.

Before anything is asked of a broker, its addresses must be its own, encrypted, or all of this machine: then
it is a rehearsal, and the first line says so. Before anything can trade, a person reads what will, where,
within which limits and what may be lost, and types the account; an unattended start says it as
`--live ACCOUNT`.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from kite_hft import builds
from kite_hft.addresses import is_loopback
from kite_hft.configuring.models.broker import KiteSection, UpstoxSection
from kite_hft.configuring.models.market import StrategySection
from kite_hft.configuring.models.safety import NO_SINK
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.session import SessionError
from kite_hft.sessions import ist_date
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.broker import Limits
from kite_hft.trading.instruments import InstrumentTable

NAMES_SHOWN: Final = 12
ANSWER_S: Final = 300.0
LINE_BYTES: Final = 4096
DEFAULT_ACCOUNT: Final[str] = Settings.model_fields["account"].default


class NotConfirmed(SessionError):
    """Mode live without the account's name; the message says what came and what to do."""


def section_of(settings: Settings, broker: str) -> KiteSection | UpstoxSection:
    return settings.kite if broker == "kite" else settings.upstox


def is_rehearsal(settings: Settings) -> bool:
    """Whether every address of the run is on this machine."""
    urls = [url for broker in settings.brokers for url in section_of(settings, broker).addresses]
    return all(map(is_loopback, urls))


def own_hosts(broker: str) -> frozenset[str]:
    """The hosts that are the broker's: those that the configuration has by default."""
    section = KiteSection() if broker == "kite" else UpstoxSection()
    return frozenset(urlsplit(url).hostname or "" for url in section.addresses)


def check_live(settings: Settings, now_real_ns: int) -> None:
    """What mode live asks of the configuration, before any address is called.

    Raises:
        SettingsError: an address is neither the broker's own nor all are of this machine; the day is not
            today; the account has no name of its own.
    """
    if settings.mode != "live" or is_rehearsal(settings):
        return
    wrong = [
        f"{broker}: {url}"
        for broker in settings.brokers
        for url in section_of(settings, broker).addresses
        if not _is_own(broker, url)
    ]
    if wrong:
        raise SettingsError(
            f"mode live calls a broker's own hosts only, encrypted; {'; '.join(wrong)} is none. Leave the "
            "addresses out, or for a rehearsal let all of them be of this machine"
        )
    if trading_day(settings, now_real_ns) != ist_date(now_real_ns):
        raise SettingsError(
            f"trading.date: mode live trades today, not on {settings.trading.date}; take the key out"
        )
    if settings.account == DEFAULT_ACCOUNT:
        raise SettingsError(
            f"account: {DEFAULT_ACCOUNT} is nobody's; mode live needs a name that you know the account by, "
            "for example your client id"
        )
    if not settings.trading.watchdog:
        raise SettingsError("trading.watchdog: mode live does not go without it; take the key out")


def _is_own(broker: str, url: str) -> bool:
    parts = urlsplit(url)
    encrypted = parts.scheme in ("https", "wss") and parts.port in (None, 443)
    return encrypted and parts.hostname in own_hosts(broker)


def check_word(settings: Settings, live: str | None) -> None:
    """`--live ACCOUNT`, as soon as it is read.

    Raises:
        NotConfirmed: it names another account, or the mode is not live.
    """
    if not live:
        return
    if settings.mode != "live":
        raise NotConfirmed(f"--live is given, and the configuration says mode {settings.mode}")
    if live != settings.account:
        raise NotConfirmed(f"--live names {live!r}, and the configuration trades account {settings.account}")


def first_lines(settings: Settings) -> list[str]:
    """What a live run says before anything else."""
    if settings.mode != "live":
        return []
    if is_rehearsal(settings):
        hosts = ", ".join(dict.fromkeys(_hosts(settings)))
        return [
            f"REHEARSAL OF MODE LIVE: every address is on this machine ({hosts}); no order reaches a broker"
        ]
    return ["MODE LIVE: orders go to the exchange and cost real money"]


def build_words(settings: Settings) -> list[str]:
    """What a run says of compiled modules that are older than the sources beside them; [] when none is.

    Raises:
        SessionError: mode live does not trade with them.
    """
    try:
        builds.require_fresh()
    except builds.MixedBuild as error:
        if settings.mode == "live" and not is_rehearsal(settings):
            raise SessionError(f"mode live: {error}") from None
        return [f"compiled modules are old: {error}"]
    return []


def confirmation(settings: Settings, limits: Limits, instruments: InstrumentTable) -> list[str]:
    """What a person confirms: broker, account, limits, instruments, what may be lost today.

    limits: the order broker's, of the rules file and the configuration.
    """
    risk = settings.risk
    prices, hosts = " and ".join(settings.data_brokers), ", ".join(dict.fromkeys(_hosts(settings)))
    shown = [
        *first_lines(settings),
        f"broker       {settings.broker} ({hosts}), prices from {prices}",
        f"account      {settings.account}",
        f"strategies   {', '.join(f'{s.name} (form {s.form})' for s in settings.strategies) or 'none'}",
        f"instruments  {_instruments(settings, instruments)}",
        f"an order     at most {_rupees(risk.max_order_value)} and {risk.max_order_quantity:,} pieces",
        f"a position   at most {_rupees(risk.max_position_size)}, {risk.max_positions} of them, "
        f"{_rupees(risk.max_exposure)} together",
        f"orders       at most {limits.orders_per_day:,} a day, "
        + ", ".join(f"{w.calls} in {w.window_s:g} s" for w in limits.order_windows)
        + f" ({settings.trading.rules.name})",
        *_losses(settings),
    ]
    if settings.alerts.waive_sinks == NO_SINK:
        shown.append("alerts       reach nobody: alerts.waive_sinks says so")
    return shown


def _losses(settings: Settings) -> Iterable[str]:
    """What may be lost today. Mode live has a limit: it does not start without."""
    risk = settings.risk
    yield (
        f"loss         today at most {_rupees(risk.max_daily_loss or 0.0)} net of charges, then "
        f"{risk.on_daily_loss}; a gap in prices may cost more: what is held can be lost"
    )
    if risk.max_drawdown is not None:
        yield f"             and {_rupees(risk.max_drawdown)} from the best of the day"


def _rupees(amount: float) -> str:
    return f"{amount:,.2f} rupees"


def _hosts(settings: Settings) -> list[str]:
    section = section_of(settings, settings.broker)
    return [urlsplit(url).netloc for url in section.addresses]


def _instruments(settings: Settings, instruments: InstrumentTable) -> str:
    """How many, and the first names of those that strategies are given."""
    named = [name for s in settings.strategies for name in _names(s, instruments)]
    rows = list(dict.fromkeys(named)) or [row.key for row in instruments]
    more = len(rows) - NAMES_SHOWN
    return f"{len(rows)}: {', '.join(rows[:NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''}"


def _names(section: StrategySection, instruments: InstrumentTable) -> list[str]:
    rows = instruments if section.instruments == "all" else map(instruments.resolve, section.instruments)
    return [row.key for row in rows if not row.is_index]


def require_live(
    settings: Settings,
    lines: list[str],
    live: str | None,
    show: Callable[[str], None],
    answer: Callable[[str], str | None],
    asked_at: str = "the terminal",
) -> str:
    """Show what is confirmed and have it confirmed; returns how that was done, "" where nothing is to be.

    live: what `--live` said; None: it is asked for; "": there is nobody to be asked. show: prints a line.
    answer: asks with a line and returns what was typed; None: nobody is there. asked_at: where that is,
    for the journal.

    Raises:
        NotConfirmed: nothing, or something else than the account.
    """
    if settings.mode != "live":
        return ""
    check_word(settings, live)
    for line in lines:
        show(line)
    if live:
        return "confirmed by --live"
    typed = answer(f"Type {settings.account} to trade so: ") if live is None else None
    if typed is None:
        raise NotConfirmed(
            "nobody typed the account, and nothing trades. An unattended start says it on the command line: "
            f"--live {settings.account}"
        )
    if typed != settings.account:
        raise NotConfirmed(f"{typed!r} is not the account {settings.account}: nothing trades")
    return f"confirmed at {asked_at}"


def typed_line(
    ask: Callable[[str], None], fd: int = 0, wait_s: float = ANSWER_S
) -> Callable[[str], str | None]:
    """Asks, and reads one line of standard input; None when it is closed or nothing comes in time.

    Nothing behind the line is taken. ask: prints without a new line.
    """

    def answer(text: str) -> str | None:
        ask(text)
        line = b""
        while not line.endswith(b"\n") and len(line) < LINE_BYTES:
            if not select.select([fd], [], [], wait_s)[0]:
                return None
            byte = os.read(fd, 1)
            if not byte:
                break
            line += byte
        return line.decode(errors="replace").strip() or None

    return answer
