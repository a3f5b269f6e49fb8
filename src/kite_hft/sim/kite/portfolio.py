"""Layer 4, simulator, cold: positions, conversions, holdings and their authorisation, margins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from kite_hft.layout import Product
from kite_hft.sim.exchange.account import Account, Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite.rows import PRODUCTS, ist_text, margins_row, position_row
from kite_hft.sim.market.keys import isin_of
from kite_hft.sim.rest import HTML, Call, Response, Route

AUTHORISE_PAGE: Final = "/connect/portfolio/authorise/holdings/*/*"
SEGMENTS: Final = ("equity", "commodity")


class PortfolioDesk:
    """What the client owns."""

    def __init__(self, exchange: Exchange, api_key: Callable[[], str]) -> None:
        self._exchange = exchange
        self._api_key = api_key
        self._requests: dict[str, tuple[int, ...] | None] = {}

    def routes(self) -> list[Route]:
        """Portfolio and funds."""
        return [
            Route("GET", "/portfolio/positions", lambda _: self._positions()),
            Route("PUT", "/portfolio/positions", self._convert),
            Route("GET", "/portfolio/holdings", lambda _: self.holdings()),
            Route("GET", "/portfolio/holdings/summary", lambda _: summary(self.holdings())),
            Route("GET", "/portfolio/holdings/compact", lambda _: [_compact(r) for r in self.holdings()]),
            Route("GET", "/portfolio/holdings/auctions", lambda _: self._auctions()),
            Route("POST", "/portfolio/holdings/authorise", self._authorise),
            Route("GET", AUTHORISE_PAGE, self._authorise_page, open=True),
            Route("GET", "/user/margins", lambda _: dict.fromkeys(SEGMENTS, self._margins())),
            Route("GET", "/user/margins/*", self._margins_segment),
        ]

    def holdings(self) -> list[dict[str, Any]]:
        """GET /portfolio/holdings."""
        account = self._exchange.account
        return [self._row(account, holding) for holding in account.holdings.values()]

    def _positions(self) -> dict[str, list[dict[str, Any]]]:
        latest, found = self._exchange.latest, self._exchange.account.positions
        rows: dict[str, list[dict[str, Any]]] = {"net": [], "day": []}
        for (slot, _), position in found.items():
            last_px, close_px = int(latest[slot]["last_px"]), int(latest[slot]["close_px"])
            rows["net"].append(position_row(position, last_px, close_px))
            if position.buy_quantity or position.sell_quantity:
                rows["day"].append(position_row(position, last_px, close_px, carried=False))
        return rows

    def _convert(self, call: Call) -> bool:
        form = call.form()
        row = kite_forms.instrument_of(form, self._exchange.instruments)
        old = kite_forms.choice(form, "old_product", kite_forms.PRODUCTS)
        new = kite_forms.choice(form, "new_product", kite_forms.PRODUCTS)
        side = kite_forms.choice(form, "transaction_type", kite_forms.SIDES)
        kind = kite_forms.choice(form, "position_type", {"day": "day", "overnight": "overnight"})
        quantity = kite_forms.whole(form, "quantity")
        self._exchange.convert(row.key, old, new, side, kind, quantity, call.now_ns)
        return True

    # -- holdings

    def _row(self, account: Account, holding: Holding) -> dict[str, Any]:
        row, tick = holding.instrument, self._exchange.latest[holding.instrument.slot]
        scale = row.scale
        last, close = int(tick["last_px"]) / scale, int(tick["close_px"]) / scale
        average = holding.average_px / scale
        sold = max(0, -account.net(row.slot, Product.CNC))
        settled = max(0, holding.quantity - sold)
        total = settled + max(0, holding.t1_quantity - max(0, sold - holding.quantity))
        return {
            "tradingsymbol": row.symbol,
            "exchange": row.exchange,
            "instrument_token": row.token,
            "isin": isin_of(row),
            "product": PRODUCTS[Product.CNC],
            "price": 0,
            "quantity": settled,
            "used_quantity": sold,
            "t1_quantity": holding.t1_quantity,
            "realised_quantity": settled,
            "authorised_quantity": holding.authorised or 0,
            "authorised_date": f"{(ist_text(call_ns(holding, tick)) or '1970-01-01 ')[:10]} 00:00:00",
            "authorisation": {},
            "opening_quantity": holding.opening,
            "short_quantity": 0,
            "collateral_quantity": 0,
            "collateral_type": "",
            "discrepancy": False,
            "average_price": average,
            "last_price": last,
            "close_price": close,
            "pnl": (last - average) * total,
            "day_change": last - close,
            "day_change_percentage": (last - close) * 100 / close if close else 0,
            "mtf": {"quantity": 0, "used_quantity": 0, "average_price": 0, "value": 0, "initial_margin": 0},
        }

    def _auctions(self) -> list[dict[str, Any]]:
        """Holdings that may be offered in today's buy-in auctions, each with its auction's number."""
        left_out = ("used_quantity", "short_quantity", "authorisation", "mtf")
        account, rows = self._exchange.account, []
        for number, slot in self._exchange.auctions.items():
            if slot in account.holdings:
                row = self._row(account, account.holdings[slot])
                kept = {name: value for name, value in row.items() if name not in left_out}
                rows.append(kept | {"auction_number": number})
        return rows

    def _authorise(self, call: Call) -> dict[str, str]:
        """Begin an authorisation; only the client himself can end it, in the browser."""
        slots = None
        if isins := [value for name, value in call.pairs() if name == "isin"]:
            by_isin = {isin_of(h.instrument): slot for slot, h in self._exchange.account.holdings.items()}
            if unknown := [isin for isin in isins if isin not in by_isin]:
                raise Refusal("InputException", f"Invalid `isin`: {unknown[0]}.")
            slots = tuple(by_isin[isin] for isin in isins)
        text = f"{self._api_key()}{len(self._requests)}{call.now_ns}"
        request_id = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._requests[request_id] = slots
        return {"request_id": request_id}

    def _authorise_page(self, call: Call) -> Response:
        """The depository's page, as if the client had typed his TPIN there."""
        api_key, request_id = call.args
        if api_key != self._api_key() or request_id not in self._requests:
            raise Refusal("InputException", "Invalid `request_id`.", 400)
        self._exchange.authorise(self._requests.pop(request_id), call.now_ns)
        return Response(200, HTML, b"<p>Holdings authorised.</p>")

    # -- funds

    def _margins(self) -> dict[str, Any]:
        return margins_row(self._exchange.account)

    def _margins_segment(self, call: Call) -> dict[str, Any]:
        if call.args[0] not in SEGMENTS:
            raise Refusal("InputException", "Invalid `segment`.")
        return self._margins()


def call_ns(holding: Holding, tick: Any) -> int:
    """When a holding was authorised; else the day of the latest tick."""
    return holding.authorised_ns or int(tick["exch_ns"])


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Holdings added up."""

    def held(row: dict[str, Any]) -> int:
        return int(row["quantity"] + row["t1_quantity"])

    invested = sum(held(row) * row["average_price"] for row in rows)
    current = sum(held(row) * row["last_price"] for row in rows)
    before = sum(held(row) * row["close_price"] for row in rows)
    return {
        "total_pnl": current - invested,
        "total_pnl_percent": (current - invested) * 100 / invested if invested else 0,
        "today_pnl": current - before,
        "today_pnl_percent": (current - before) * 100 / before if before else 0,
        "invested_amount": invested,
        "current_value": current,
    }


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    names = ("exchange", "tradingsymbol", "instrument_token", "t1_quantity", "quantity")
    return {name: row[name] for name in names}
