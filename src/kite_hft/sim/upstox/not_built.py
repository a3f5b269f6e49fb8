"""Layer 4, simulator, cold: calls that Upstox has and the simulator has not, by name.

They answer 501 and say so: a script that needs one of them learns that it is the simulator that lacks
it. None of them has to do with trading a live market. A path that is nowhere is 404, as at the broker.
"""

from __future__ import annotations

from typing import Final

from kite_hft.sim.rest import Call, Response, Route
from kite_hft.sim.upstox.answers import NOT_BUILT, error
from kite_hft.sim.upstox.quota import PAYOUT

_PAYOUT: Final = "/v2/user/payments/payout"
CALLS: Final = (
    # profit and loss of past years
    ("GET", "/v2/trade/profit-loss/metadata"), ("GET", "/v2/trade/profit-loss/data"),
    ("GET", "/v2/trade/profit-loss/charges"),
    # payments
    ("GET", "/v2/user/payments/payin"), ("GET", _PAYOUT), ("POST", _PAYOUT), ("GET", f"{_PAYOUT}/modes"),
    ("PUT", f"{_PAYOUT}/*"), ("DELETE", f"{_PAYOUT}/*"),
    # expired instruments
    ("GET", "/v2/expired-instruments/expiries"), ("GET", "/v2/expired-instruments/future/contract"),
    ("GET", "/v2/expired-instruments/option/contract"),
    ("GET", "/v2/expired-instruments/historical-candle/*/*/*/*"),
    # what others make of the market
    ("GET", "/v2/market/change-oi"), ("GET", "/v2/market/oi"), ("GET", "/v2/market/pcr"),
    ("GET", "/v2/market/max-pain"), ("GET", "/v2/market/dii"), ("GET", "/v2/market/fii"),
    ("GET", "/v2/market/smartlist/*"), ("GET", "/v2/news"), ("GET", "/v2/fundamentals/*/*"),
    # new issues, mutual funds
    ("GET", "/v2/ipos"), ("GET", "/v2/ipos/orders"), ("POST", "/v2/ipos/orders"),
    ("GET", "/v2/ipos/orders/*"), ("DELETE", "/v2/ipos/orders/*"), ("GET", "/v2/ipos/*"),
    ("GET", "/v2/mf/holdings"), ("GET", "/v2/mf/orders"), ("GET", "/v2/mf/orders/*"), ("GET", "/v2/mf/sips"),
    # the market feed before V3, and a login that one source alone knows
    ("GET", "/v2/feed/market-data-feed"), ("GET", "/v2/feed/market-data-feed/authorize"),
    ("POST", "/v2/totp-login/authorization/token"),
)  # fmt: skip


def not_built_routes() -> list[Route]:
    """A route for each; payouts have a limit of their own."""
    answer = error(*NOT_BUILT)

    def act(call: Call) -> Response:
        return answer

    return [
        Route(method, path, act, PAYOUT) if path.startswith(_PAYOUT) else Route(method, path, act)
        for method, path in CALLS
    ]
