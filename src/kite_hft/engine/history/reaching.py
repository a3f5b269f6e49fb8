"""Layer 5, metadata job, cold: the broker that history comes from, without a run.

Reading prices takes no account and no lock. Where the broker counts it with an engine's reads, none may run
(beside.py). Only a configuration in mode
sim without addresses of its own has to start a simulator for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.configuring.models.broker import BrokerName, rules_of
from kite_hft.engine.plan.master import day_instruments
from kite_hft.engine.plan.session import Access, Session, SessionError, configured, open_session
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.broker import Limits
from kite_hft.trading.instruments import InstrumentTable


def history_settings(settings: Settings, broker: str | None, which: list[str] | Path | None) -> Settings:
    """The configuration as if one broker were all there is, and these the instruments.

    broker: None: the first that prices come from. which: names, or the file of a universe; None: those of the
    configuration.

    Raises:
        SettingsError: no such broker.
    """
    chosen = broker or settings.data_brokers[0]
    if chosen not in get_args(BrokerName):
        raise SettingsError(f"--broker {chosen}: there is {' and '.join(get_args(BrokerName))}")
    feed: dict[str, Any] = {}
    if isinstance(which, Path):
        feed = {"universe": Path(os.path.expanduser(which)), "instruments": "all"}
    elif which:
        feed = {"universe": None, "instruments": which}
    update: dict[str, Any] = {
        "broker": chosen,
        "data_broker": chosen,
        "upstox": settings.upstox.model_copy(update={"sandbox": False}),
        "trading": settings.trading.model_copy(
            update={"rules": rules_of(chosen, settings.broker, settings.trading.rules)}
        ),
        "datafeed": settings.datafeed.model_copy(update=feed),
    }
    return settings.model_copy(update=update)


@contextlib.contextmanager
def reached(settings: Settings, say: Callable[[str], None]) -> Iterator[Session]:
    """The broker of `history_settings`, with keys.

    Raises:
        SessionError: a key is missing, or the simulator does not start.
    """
    access = configured(settings, settings.broker)
    if settings.mode == "sim" and not access.access_token:
        session = open_session(settings, say)
    else:
        require_keys(access)
        session = Session(settings.mode, access, (access,))
    try:
        yield session
    finally:
        session.close()


def require_keys(access: Access) -> None:
    """Raises SessionError: history is not given away without a login."""
    lacking = [] if access.api_key or access.broker == "upstox" else ["api_key"]
    lacking += [] if access.access_token else ["access_token"]
    if lacking:
        names = " and ".join(f"{access.broker}.{name}" for name in lacking)
        raise SessionError(f"{names} missing: kite-hft login --broker {access.broker}")


def rows_of(
    session: Session, settings: Settings, now_real_ns: int, say: Callable[[str], None], caps_file: Path
) -> InstrumentTable:
    """The instruments of the configuration. say: told what was left out; caps_file: market capitalisations
    of a universe that names none.

    Raises:
        SessionError, InstrumentError: see day_instruments.
    """
    return day_instruments(session, settings, now_real_ns, say, caps_file)


def limits_of(settings: Settings) -> Limits:
    """Of the broker of `history_settings`.

    Raises:
        SettingsError: the rules file cannot be used.
    """
    path = settings.trading.rules
    try:
        return limits_from_mapping(load_yaml(path))
    except LimitsError as error:
        raise SettingsError(f"{path}: {error}") from None
