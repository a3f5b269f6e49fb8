"""Layer 4, simulator, cold: funds, charges and margins in Upstox's rows."""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.kite.charges import DELIVERY, INTRADAY, OPTIONS, kind_of, order_charges
from kite_hft.sim.kite.margins import basket_margin, order_margin
from kite_hft.sim.market.keys import upstox_lot_of
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import FUNDS_CLOSED, refusal
from kite_hft.sim.upstox.body import choice, instrument_of, json_object, number, units
from kite_hft.sim.upstox.order_forms import SIDES, product_of
from kite_hft.sim.upstox.orders import outside_service

MARGIN_ROWS_MAX: Final = 20
BROKERAGE_RUPEES: Final = 20.0
GST: Final = 0.18
_PERCENT: Final = {INTRADAY: 0.1}
_PERCENT_OTHER: Final = 0.05
_FLAT: Final = frozenset({DELIVERY, OPTIONS})
"""Brokerage: the broker's pricing page (2024-10): 20 rupees an order; of what is not flat it is less where
its share of the value is.
"""


class FundsDesk:
    """Money there is, money an order takes, money it costs."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """Funds, brokerage, margin."""
        return [
            Route("GET", "/v3/user/get-funds-and-margin", self._funds_v3),
            Route("GET", "/v2/user/get-funds-and-margin", self._funds_v2),
            Route("GET", "/v2/charges/brokerage", self._brokerage),
            Route("POST", "/v2/charges/margin", self._margin),
        ]

    def _check_hours(self, call: Call) -> None:
        if self._exchange.conditions.enforced and outside_service(call.now_ns):
            raise refusal(*FUNDS_CLOSED)

    def _funds_v3(self, call: Call) -> dict[str, Any]:
        self._check_hours(call)
        account = self._exchange.account
        free, opening = account.available_paise / 100, account.opening_paise / 100
        used = (account.opening_paise - account.available_paise) / 100
        nothing = {"total": 0.0, "equity": 0.0, "fo_settlement": 0.0}
        cash = {
            "opening_balance": opening,
            "added_today": 0.0,
            "withdrawn_today": 0.0,
            "amount_from_stock_sale": 0.0,
            "unpaid_charges": 0.0,
        }
        margin = {
            "total": used,
            "mtf": 0.0,
            "loss": {"total": 0.0, "realised": 0.0, "unrealised": 0.0},
            "span_exposure": 0.0,
            "cash_margin_var_elm": used,
            "premium_present": 0.0,
            "delivery_margin": nothing,
        }
        pledged = {name: 0.0 for name in ("total", "mtf", "span_exposure", "cash_margin_var_elm")}
        return {
            "available_to_trade": {
                "total": free,
                "cash_available_to_trade": {"total": free, "cash": cash, "margin_used": margin},
                "pledge_available_to_trade": {
                    "margin_from_pledge": {"total": 0.0, "equity": 0.0, "mutual_funds": 0.0},
                    "margin_used": pledged | {"premium_present": 0.0, "delivery_margin": nothing},
                },
            },
            "unavailable_to_trade": {
                "cash_unavailable_to_trade": {"unsettled_profit": {"total": 0.0, "today": 0.0}},
                "pledge_unavailable_to_trade": {"equity": 0.0, "mutual_funds": 0.0},
            },
        }

    def _funds_v2(self, call: Call) -> dict[str, Any]:
        """Since 2025-07-19 all of it stands under `equity`."""
        self._check_hours(call)
        segment = call.given("segment")
        if segment not in ("", "SEC", "COM"):
            raise refusal("UDAPI100036", "Invalid input: segment")
        account = self._exchange.account
        empty = dict.fromkeys(
            ("used_margin", "payin_amount", "span_margin", "adhoc_margin", "notional_cash",
             "available_margin", "exposure_margin"),
            0.0,
        )  # fmt: skip
        equity = empty | {
            "used_margin": (account.opening_paise - account.available_paise) / 100,
            "available_margin": account.available_paise / 100,
        }
        rows = {"equity": equity, "commodity": empty}
        wanted = {"SEC": ("equity",), "COM": ("commodity",)}.get(segment, tuple(rows))
        return {name: rows[name] for name in wanted}

    def _brokerage(self, call: Call) -> dict[str, Any]:
        query: dict[str, Any] = dict(call.query)
        row = instrument_of(query, self._exchange.instruments)
        product = product_of(query, row)
        side = choice(query, "transaction_type", SIDES, "UDAPI1057", "UDAPI1057")
        try:
            lots, price = int(query.get("quantity", "")), float(query.get("price", ""))
        except ValueError:
            raise refusal("UDAPI100036", "Invalid input: quantity and price are numbers.") from None
        quantity = lots * upstox_lot_of(row)
        parts = order_charges(row, side, product, quantity, price, ist_date(call.now_ns))
        value = quantity * price * (row.multiplier or 1)
        kind = kind_of(row, product)
        percent = _PERCENT.get(kind, _PERCENT_OTHER)
        brokerage = BROKERAGE_RUPEES if kind in _FLAT else min(BROKERAGE_RUPEES, value * percent / 100)
        gst = parts["gst"]["total"] + (brokerage - parts["brokerage"]) * GST
        taxes = {"gst": gst, "stt": parts["transaction_tax"], "stamp_duty": parts["stamp_duty"]}
        other = {
            "transaction": parts["exchange_turnover_charge"],
            "clearing": 0.0,
            "sebi_turnover": parts["sebi_turnover_charge"],
        }
        plan = {"name": "ADVANCED", "min_expense": 18.5}
        charges = {
            "total": brokerage + sum(taxes.values()) + sum(other.values()),
            "brokerage": brokerage,
            "taxes": taxes,
            "other_taxes": other,
            "dp_plan": plan,
            "otherTaxes": other,  # the official client reads these two
            "dpPlan": plan,
        }
        return {"charges": charges}

    def _margin(self, call: Call) -> dict[str, Any]:
        body = json_object(call.body)
        given = body.get("instruments")
        if not isinstance(given, list) or not given or not all(isinstance(i, dict) for i in given):
            raise refusal("UDAPI100036", "Invalid input: instruments")
        if len(given) > MARGIN_ROWS_MAX:
            raise refusal("UDAPI100036", f"Invalid input: at most {MARGIN_ROWS_MAX} instruments.")
        margins, legs, day = self._exchange.margins, [], ist_date(call.now_ns)
        for line in given:
            row = instrument_of(line, self._exchange.instruments, "instrument_key")
            side = choice(line, "transaction_type", SIDES, "UDAPI1057", "UDAPI1057")
            price = number(line, "price", 0.0) or margins.last(row)
            quantity = units(line, "quantity", row)
            legs.append(margins.leg(row, side, product_of(line, row), quantity, price))
        rows = [order_margin(leg, day) for leg in legs]
        basket = basket_margin(legs, [], day)
        return {
            "margins": [
                {
                    "span_margin": row["span"],
                    "exposure_margin": row["exposure"],
                    "equity_margin": row["var"],
                    "net_buy_premium": row["option_premium"],
                    "additional_margin": row["additional"],
                    "total_margin": row["total"],
                    "tender_margin": 0.0,
                }
                for row in rows
            ],
            "required_margin": basket["initial"]["total"],
            "final_margin": basket["final"]["total"],
        }
