"""Layer 2, orders process, cold: strategies are told anew how their orders and positions stand.

After a restart of this process the newest events that it ever pushed still stand in the event
queues: what they told is compared with the book, and what differs is sent as SNAPSHOT events. After
a restart of a worker all of its strategies' positions and orders are. Hosts take them over whatever
they were told before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from kite_hft.layout import NO_SLOT, ORDER_EVENT, EventKind, OrderStatus, Reason
from kite_hft.trading.book import Book
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import LIVE
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import Ports, Records
from kite_hft.trading.records import position_event, snapshot_event
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.work import order_of
from kite_hft.trading.slices import as_told
from kite_hft.units import NS_PER_S

RECALLED: Final = 4096
"""Newest events looked at in a queue."""
RECENT_NS: Final = 60 * NS_PER_S
"""Orders that ended so long ago are told to a worker that was started again."""
_SLACK_NS: Final = NS_PER_S


class Teller:
    """Sends SNAPSHOT events."""

    def __init__(self, ports: Ports, book: Book, outbox: Outbox) -> None:
        self._ports, self._book, self._outbox = ports, book, outbox
        self._owed: set[tuple[int, int]] = set()  # intents of orders whose snapshot found no room

    def whole(self, strategies: Iterable[int], now_ns: int) -> int:
        """Positions, live orders and recently ended ones of `strategies`; returns how many events."""
        wanted = set(strategies)
        self._outbox.hung -= wanted
        sent = 0
        for (strategy, slot, product), position in self._book.positions.items():
            if strategy in wanted and (position.quantity or position.fills):
                sent += self._send(
                    strategy, position_event(strategy, slot, product, position.quantity, now_ns)
                )
        for order in self._book.orders.values():
            if order.strategy not in wanted or not (whole := as_told(self._book, order)):
                continue
            parts = self._book.family(order)
            recent = any(part.status in LIVE or now_ns - part.status_ns < RECENT_NS for part in parts)
            if recent or (order.strategy, order.strategy_seq) in self._owed:
                sent += self._send_order(whole, now_ns)
        for strategy in wanted - self._outbox.hung:
            self._outbox.clear("STRATEGY_HUNG", f"strategy {strategy}")
        return sent

    def revive(self, now_ns: int) -> None:
        """Strategies that took no events, and may take them again."""
        for strategy in sorted(self._outbox.hung):
            self.whole({strategy}, now_ns)

    def differing(self, found: Recovered, now_ns: int) -> int:
        """After a restart: what the queues' last events do not say; returns how many events."""
        sinks = {id(sink): sink for sink in self._ports.events.values()}
        sent = 0
        for sink in sinks.values():
            told = np.zeros(RECALLED, ORDER_EVENT)
            told = told[: sink.recall(told)]
            strategies = {s for s, own in self._ports.events.items() if own is sink}
            sent += self._differing(strategies, told, found, now_ns)
        return sent

    def _differing(self, strategies: set[int], told: Records, found: Recovered, now_ns: int) -> int:
        # An order that no event tells of, and nothing happened to since the oldest of them, was told
        # of before: its events have been overwritten.
        # While the first event ever pushed still stands there, none has been.
        whole = not len(told) or int(told["seq"][0]) == 0
        since_ns = 0 if whole else int(told["event_ns"][0]) + self._ports.clock.real_ns() - now_ns
        orders: dict[tuple[int, int], np.void] = {}
        positions: dict[tuple[int, int, int], int] = {}
        for event in told:
            name = (int(event["strategy"]), int(event["strategy_seq"]))
            if name[1]:
                orders[name] = event
            key = (name[0], int(event["slot"]), int(event["product"]))
            if event["slot"] != NO_SLOT:
                positions[key] = int(event["position"])
        sent = 0
        for order in self._book.orders.values():
            if order.strategy not in strategies or order.strategy == EXTERNAL:
                continue
            known = as_told(self._book, order)
            if known is None:
                continue
            event = orders.get((known.strategy, known.strategy_seq))
            touched_ns = found.touched.get(order.order_no, 0)
            if event is None and touched_ns < since_ns - _SLACK_NS and order.status not in LIVE:
                continue
            if event is None or not _says(event, known):
                sent += self._send_order(known, now_ns)
        for key, position in self._book.positions.items():
            if key[0] not in strategies or not (position.fills or key in positions):
                continue
            if positions.get(key) != position.quantity and (key in positions or position.quantity):
                sent += self._send(key[0], position_event(*key, position.quantity, now_ns))
        return sent + self._refusals(strategies, orders, found, since_ns, now_ns)

    def _refusals(
        self,
        strategies: set[int],
        told: Mapping[tuple[int, int], np.void],
        found: Recovered,
        since_ns: int,
        now_ns: int,
    ) -> int:
        sent = 0
        for name, data in found.refused.items():
            old = data["time_ns"] < since_ns - _SLACK_NS
            event = told.get(name)
            if name[0] not in strategies or old or (event is not None and _ended(event)):
                continue
            reason = data.get("reason", "")  # none: its strategy took it back
            if reason == Reason.DUPLICATE_INTENT.name:
                continue
            blank = dict.fromkeys(Intent._fields, 0)
            words = {k: data[k] for k in ("strategy", "kind", "slot", "side", "product", "qty")}
            intent = Intent(**blank | words | {"strategy_seq": name[1]})
            if reason:
                self._outbox.tell_refusal(intent, Reason[reason], now_ns)
            else:
                order = order_of(intent, 0, "", opening=True)
                order.status = OrderStatus.CANCELLED
                self._send_order(order, now_ns)
            sent += 1
        return sent

    def _send_order(self, order: Order, now_ns: int) -> bool:
        position = self._book.position(order).quantity
        instrument = self._ports.instruments[order.slot]
        reason = Reason.ABSENT if order.status is OrderStatus.ABSENT else Reason.NONE
        sent = self._send(order.strategy, snapshot_event(order, reason, position, instrument, now_ns))
        name = (order.strategy, order.strategy_seq)
        self._owed.discard(name) if sent else self._owed.add(name)
        return sent

    def _send(self, strategy: int, event: Records) -> bool:
        return self._outbox.push(strategy, event)


def _ended(event: np.void) -> bool:
    return int(event["kind"]) == EventKind.REFUSED or int(event["status"]) not in {int(s) for s in LIVE}


def _says(event: np.void, order: Order) -> bool:
    """Whether the last event of an order tells how it stands."""
    return (int(event["status"]), int(event["filled_qty"]), int(event["qty"]), int(event["px"])) == (
        int(order.status),
        order.filled,
        order.quantity,
        order.px,
    )
