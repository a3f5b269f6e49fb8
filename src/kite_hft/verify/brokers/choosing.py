"""Layer 6, campaigns, cold: whose adapter, simulator and limits a campaign runs with."""

from __future__ import annotations

import argparse
import datetime as dt

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.configuring.models.broker import FILES
from kite_hft.settings import load_yaml
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import SIDES
from kite_hft.trading.broker import Limits
from kite_hft.trading.costs import Schedule, schedule_from_mapping
from kite_hft.verify.campaign import CONFIG


def add_broker(parser: argparse.ArgumentParser) -> None:
    """The option --broker: whose adapter, simulator and limits the campaign runs with."""
    text = "whose adapter, simulator and limits (default kite)"
    parser.add_argument("--broker", choices=sorted(SIDES), default="kite", help=text)


def words_of(side: BrokerSide) -> str:
    """What names the broker in a command that replays; "" for the default one."""
    return "" if side.name == "kite" else f" --broker {side.name}"


def limits_of(side: BrokerSide) -> Limits:
    """A broker's dated limits."""
    return limits_from_mapping(load_yaml(CONFIG / "rules" / side.rules))


def charges_of(side: BrokerSide, day: dt.date) -> Schedule:
    """What orders cost at a broker on a day, by his dated file."""
    return schedule_from_mapping(load_yaml(CONFIG / FILES[side.name]["charges"]), day)
