"""kite_hft: a trading engine for Zerodha Kite Connect and Upstox.

    from kite_hft import DataFeedService, KiteAuthenticator, BaseStrategy, RiskManager, config

Each name is loaded when it is first asked for: importing the package imports nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers alone
    from kite_hft.app.face.authenticator import KiteAuthenticator
    from kite_hft.app.face.config import config
    from kite_hft.app.face.datafeed import DataFeedService
    from kite_hft.app.face.risk import RiskManager
    from kite_hft.strategies.base import BaseStrategy

__all__ = ["BaseStrategy", "DataFeedService", "KiteAuthenticator", "RiskManager", "config"]

_HOMES = {
    "BaseStrategy": "kite_hft.strategies.base",
    "DataFeedService": "kite_hft.app.face.datafeed",
    "KiteAuthenticator": "kite_hft.app.face.authenticator",
    "RiskManager": "kite_hft.app.face.risk",
    "config": "kite_hft.app.face.config",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
