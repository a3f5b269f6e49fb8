"""Layer 4, simulator, cold: Upstox's calls about many orders: place, cancel, leave positions.

All lines of a multi order are checked before one is placed; buys go before sells. Replies: all
well 200, some 207, none 400.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange.orders import NewOrder, Refusal
from kite_hft.sim.market.keys import SEGMENTS, segment_of
from kite_hft.sim.rest import JSON, Call, Response, Route, encode
from kite_hft.sim.upstox import order_forms
from kite_hft.sim.upstox.answers import TOO_MANY, code_of, error_row, refusal
from kite_hft.sim.upstox.body import Body, json_rows
from kite_hft.sim.upstox.order_forms import CORRELATION_MAX, Wish
from kite_hft.sim.upstox.orders import OrdersDesk
from kite_hft.sim.upstox.quota import ORDER

LINES_MAX: Final = 10
"""Of one call (digest of 2026-09; older docs: 25)."""
Counted = Callable[[int, int], bool]


class BulkDesk:
    """`more(n, now_ns)`: whether n requests beyond the call's own pass the limits."""

    def __init__(self, orders: OrdersDesk, more: Counted) -> None:
        self._orders = orders
        self._exchange = orders.exchange
        self._more = more

    def routes(self) -> list[Route]:
        """The sandbox knows placing alone."""
        place = Route("POST", "/v2/order/multi/place", self._place, ORDER, fixed_ip=True)
        if self._orders.sandbox:
            return [place]
        return [
            place,
            Route("DELETE", "/v2/order/multi/cancel", self._cancel, ORDER, fixed_ip=True),
            Route("POST", "/v2/order/positions/exit", self._exit, ORDER, fixed_ip=True),
        ]

    # -- place

    def _place(self, call: Call) -> Response:
        lines = json_rows(call.body)
        if not lines:
            raise refusal("UDAPI1114", "At least one order is required.")
        if len(lines) > LINES_MAX:
            raise refusal("UDAPI1118", f"At most {LINES_MAX} orders can be placed at once.")
        if len(lines) > 1 and not self._more(len(lines) - 1, call.now_ns):
            raise refusal(*TOO_MANY)
        wishes, errors = self._read(lines)
        if errors:
            return _reply([], errors, len(lines), payload=len(errors))
        done: list[dict[str, Any]] = []
        for wish in sorted(wishes, key=lambda w: w.order.side != Side.BUY):
            try:
                ids = self._orders.place(wish, call.now_ns)
            except Refusal as refused:
                errors.append(_line_error(refused, wish.correlation_id))
                continue
            names = [wish.correlation_id]
            if len(ids) > 1:
                names = [f"{wish.correlation_id}_{i}" for i in range(1, len(ids) + 1)]
            done += [{"correlation_id": n, "order_id": i} for n, i in zip(names, ids, strict=True)]
        return _reply(done, errors, len(lines))

    def _read(self, lines: list[Body]) -> tuple[list[Wish], list[dict[str, Any]]]:
        wishes: list[Wish] = []
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        for line in lines:
            name = str(line.get("correlation_id") or "")
            try:
                if not name or len(name) > CORRELATION_MAX:
                    raise refusal("UDAPI1115", "A correlation_id of at most 20 characters is required.")
                if name in seen:
                    raise refusal("UDAPI1117", f"The correlation_id {name} is there twice.")
                seen.add(name)
                wishes.append(order_forms.wish(line, self._exchange.instruments))
            except Refusal as refused:
                errors.append(_line_error(refused, name))
        return wishes, errors

    # -- cancel and exit

    def _cancel(self, call: Call) -> Response:
        segment, tag = _filter(call)
        found = [
            order
            for order in self._exchange.orders.values()
            if not order.done
            and segment in ("", segment_of(order.request.instrument))
            and tag in ("", order.tag)
        ]
        if not found:
            raise refusal("UDAPI1109", "No open orders found to cancel.")
        if len(found) > LINES_MAX:
            raise refusal("UDAPI1110", f"At most {LINES_MAX} open orders can be cancelled at once.")
        ids, errors = [], []
        for order in found:
            try:
                ids.append(self._exchange.cancel(order.order_id, call.now_ns))
            except Refusal as refused:
                errors.append(_line_error(refused, "") | {"order_id": order.order_id})
        return _reply({"order_ids": ids}, errors, len(found), len(ids))

    def _exit(self, call: Call) -> Response:
        segment, tag = _filter(call)
        exits = [order for order in self._exits() if segment in ("", segment_of(order.instrument))]
        if tag:
            tagged = {(o.slot, o.request.product) for o in self._exchange.orders.values() if o.tag == tag}
            exits = [order for order in exits if (order.instrument.slot, order.product) in tagged]
        if not exits:
            raise refusal("UDAPI1111", "No open positions found to exit.")
        if len(exits) > LINES_MAX:
            raise refusal("UDAPI1113", f"At most {LINES_MAX} positions can be left at once.")
        ids: list[str] = []
        errors: list[dict[str, Any]] = []
        for order in sorted(exits, key=lambda e: e.side != Side.BUY):
            try:
                ids += self._orders.place(Wish(order, slice=True), call.now_ns)
            except Refusal as refused:
                errors.append(_line_error(refused, "") | {"instrument_key": order.instrument.upstox_key})
        return _reply({"order_ids": ids}, errors, len(exits), len(exits) - len(errors))

    def _exits(self) -> list[NewOrder]:
        """Opposite market orders of all positions but delivered shares."""
        return [
            NewOrder(
                p.instrument, Side.SELL if p.net > 0 else Side.BUY, OrderType.MARKET, p.product, abs(p.net),
                Validity.DAY, protection_percent=order_forms.AUTOMATIC,
            )
            for p in self._exchange.account.positions.values()
            if p.net and p.product not in (Product.CNC, Product.MTF)
        ]  # fmt: skip


def _filter(call: Call) -> tuple[str, str]:
    segment = call.given("segment")
    if segment and segment not in SEGMENTS.values():
        raise refusal("UDAPI1108", "Invalid segment.")
    return segment, call.given("tag")


def _line_error(refused: Refusal, correlation_id: str) -> dict[str, Any]:
    code, _ = code_of(refused)
    row = error_row(code, refused.message)
    return row | ({"correlation_id": correlation_id} if correlation_id else {})


def _reply(
    data: Any, errors: list[dict[str, Any]], total: int, well: int | None = None, payload: int | None = None
) -> Response:
    """The reply of a call of several lines, of which `well` went well (None: all without an error)."""
    number = total - len(errors) if well is None else well
    if payload:
        number = 0
    status, word = (200, "success") if not errors else (207, "partial_success")
    if not number:
        status, word = 400, "error"
    summary = {"total": total, "success": number, "error": 0 if payload else len(errors)}
    if isinstance(data, list):
        summary["payload_error"] = payload or 0
    body = {"status": word, "data": data, "errors": errors or None, "summary": summary}
    return Response(status, JSON, encode(body))
