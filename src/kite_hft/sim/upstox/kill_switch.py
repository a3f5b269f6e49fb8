"""Layer 4, simulator, cold: Upstox's kill switch by segment.

All segments of a call or none; a segment with an open position cannot be switched off; switching
off cancels what waits there, kills the access token, and holds from the next login on. Twelve hours
pass before trading can be allowed again.
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NewOrder, Refusal
from kite_hft.sim.market.keys import SEGMENTS, segment_of
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import json_rows
from kite_hft.sim.upstox.session import SessionDesk
from kite_hft.units import NS_PER_S

LOCK_NS: Final = 12 * 3600 * NS_PER_S
DISABLE, ENABLE = "DISABLE", "ENABLE"
_ALL: Final = tuple(SEGMENTS.values())


class KillSwitch:
    """`off`: segment -> (since, login number at that time)."""

    def __init__(self, exchange: Exchange, session: SessionDesk) -> None:
        self._exchange = exchange
        self._session = session
        self._off: dict[str, tuple[int, int]] = {}

    def routes(self) -> list[Route]:
        """Read and set."""
        return [
            Route("GET", "/v2/user/kill-switch", lambda _: self._rows()),
            Route("POST", "/v2/user/kill-switch", self._set),
        ]

    def blocked(self, order: NewOrder) -> None:
        """Raises Refusal where trading is switched off."""
        found = self._off.get(segment_of(order.instrument))
        if found is not None and self._session.logins > found[1]:
            raise refusal("UDAPI100500", "Trading in this segment is disabled by the kill switch.")

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "segment": segment,
                "segment_status": "INACTIVE" if segment in self._off else "ACTIVE",
                "kill_switch_enabled": segment in self._off,
            }
            for segment in _ALL
        ]

    def _set(self, call: Call) -> list[dict[str, Any]]:
        wanted: dict[str, str] = {}
        for row in json_rows(call.body):
            segment, action = row.get("segment"), row.get("action")
            if segment not in _ALL:
                raise refusal("UDAPI1181", "Invalid segment.")
            if action not in (DISABLE, ENABLE):
                raise refusal("UDAPI1188", "Invalid action.")
            wanted[str(segment)] = str(action)
        if not wanted:
            raise refusal("UDAPI1186", "At least one segment is required.")
        stopping = {segment for segment, action in wanted.items() if action == DISABLE}
        self._check(stopping, set(wanted) - stopping, call.now_ns)
        for order in list(self._exchange.orders.values()):
            if not order.done and segment_of(order.request.instrument) in stopping:
                try:
                    self._exchange.cancel(order.order_id, call.now_ns)
                except Refusal:
                    raise refusal("UDAPI1187", "An open order cannot be cancelled now.") from None
        for segment, action in wanted.items():
            if action == DISABLE:
                self._off[segment] = call.now_ns, self._session.logins
            else:
                self._off.pop(segment, None)
        if stopping:
            self._session.kill(call.now_ns)
        return self._rows()

    def _check(self, stopping: set[str], starting: set[str], now_ns: int) -> None:
        held = {
            segment_of(p.instrument) for p in self._exchange.account.positions.values() if p.net
        }  # fmt: skip
        if held & stopping:
            raise refusal("UDAPI1184", f"Positions are open in {', '.join(sorted(held & stopping))}.")
        for segment in starting:
            since = self._off.get(segment, (now_ns - LOCK_NS, 0))[0]
            if now_ns - since < LOCK_NS:
                raise refusal("UDAPI1185", "Trading can be allowed again twelve hours after it was stopped.")
