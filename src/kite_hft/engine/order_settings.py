"""Layer 5, supervisor and orders process, cold: what the order stage is configured with.

The supervisor makes it once before anything starts, only to see whether it can be made.
"""

from __future__ import annotations

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig


def orders_config(settings: Settings, *, loopback: bool) -> OrdersConfig:
    """Settings of the stage; the broker's limits come from the dated rules file.

    Raises:
        SettingsError: the rules file or a value cannot be used.
    """
    trading = settings.trading
    try:
        return OrdersConfig(
            limits=limits_from_mapping(load_yaml(trading.rules)),
            risk=RiskLimits(**settings.risk.model_dump()),
            loopback=loopback,
            absence_horizon_s=trading.absence_horizon_s,
            poll_period_s=trading.poll_s,
            entry_wait_s=trading.intent_deadline_s,
        )
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        raise SettingsError(f"order settings ({trading.rules.name}, risk, trading): {error}") from error
