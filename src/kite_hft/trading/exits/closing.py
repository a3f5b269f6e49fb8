"""Layer 2, orders process, cold: how positions are closed, whoever wants them closed.

Shorts are bought back before longs are sold, each position in its own product, in slices within the freeze
quantity. A protected MARKET order becomes a LIMIT whose rest stays open: every `reprice_s` it is cancelled
and placed anew at the market; one that was refused comes back as a LIMIT behind the price, inside the
circuit, and as a MARKET order again after that, ever later: three times within seconds, then twice a
minute, with one alert that says why. One that others cancel within seconds counts as refused. Less than a
lot can be named by no order: the rest of the position is closed, and a person is told. Where the price stands
at the circuit limit nobody is there to trade with: the order is a LIMIT there and keeps its place, with an
alert. In an auction it waits for the end. An order of unknown fate is waited for where it may close the same,
for seconds where it cannot. A short that the broker lets nobody buy back keeps long derivatives on the same
underlying, which may cover it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.exits.plan import Key, named
from kite_hft.trading.exits.prices import Market, beyond, odd_lot, odd_text, sendable
from kite_hft.trading.exits.stewards import STOOD_NS, Hands
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

REFUSED_MAX: Final = 3
"""A closing order that was refused so often in a row is given up: nothing waits for it any more."""
PAUSE_NS: Final = NS_PER_S // 2
PAUSE_MAX_NS: Final = 30 * NS_PER_S
"""After a refusal, doubled each time; and after it was given up."""
STEPS: Final = 3
"""So many times `stop_gap_percent` does a LIMIT lie behind the price at most, and then once again."""
LOST_NS: Final = 3 * NS_PER_S
"""So long does a closing wait for one on the other side whose fate is unknown: as a rule it is known then."""
SHORTS_FIRST_NS: Final = 10 * NS_PER_S
"""So long do longs wait for shorts that are being bought back; derivatives, which may cover them, longer."""


@dataclass(slots=True)
class Tried:
    """The closing of one position so far.

    order: the newest, None: the gate refused it. refused: in a row; as far as waiting for it goes.
    turns: all of them, in a row. again_ns: before that a refused one is not sent again. why: the gate's
    words.
    """

    began_ns: int
    order: Order | None = None
    refused: int = 0
    turns: int = 0
    again_ns: int = 0
    why: str = ""

    def learn(self, now_ns: int, *, called_off: bool) -> int:
        """How often in a row it was refused, or came to nothing. called_off: by us, as it rested too long."""
        if (order := self.order) is not None and order.status is not OrderStatus.REJECTED:
            stood = order.status in WORKING and now_ns - order.status_ns >= STOOD_NS
            if order.filled or stood or (called_off and order.order_id):
                self.refused = self.turns = 0
        return self.refused

    @property
    def works(self) -> bool:
        """The newest is at the broker: it is not known yet whether it stays there."""
        return self.order is not None and self.order.status in WORKING

    @property
    def cause(self) -> str:
        """Why the newest was refused."""
        return self.why if self.order is None else self.order.message or self.order.status.name


class Closer:
    """Places closing orders, knows them again, and counts what is refused."""

    def __init__(
        self, ports: Ports, config: OrdersConfig, outbox: Outbox, hands: Hands, market: Market
    ) -> None:
        self._ports, self._outbox, self.hands, self._market = ports, outbox, hands, market
        self._slices_max, self._gap = config.slices_max, config.stop_gap_percent
        self._reprice_ns = round(config.reprice_s * NS_PER_S)
        self._tried: dict[Key, Tried] = {}
        self._placed_ns: dict[int, int] = {}
        self._told: set[tuple[str, Key]] = set()  # which alerts stand

    def know(self, orders: Iterable[Order], now_ns: int) -> None:
        """Closing orders of an earlier process: they rest from now on."""
        for order in orders:
            self._placed_ns.setdefault(order.order_no, now_ns)

    def placed(self, orders: Iterable[Order]) -> list[Order]:
        """Those of them that are closing orders of ours."""
        return [order for order in orders if order.order_no in self._placed_ns]

    def cancels(self, orders: Iterable[Order], now_ns: int) -> list[Order]:
        """Of live orders those to cancel now: all that are not ours, and ours that rest too long. Where none
        can follow today, what closes something stays.
        """
        found = [order for order in orders if not self._rests_well(order, now_ns)]
        return found if self.hands.may_place else [o for o in found if o.opening or not self.hands.closes(o)]

    def _rests_well(self, order: Order, now_ns: int) -> bool:
        placed_ns = self._placed_ns.get(order.order_no)
        if placed_ns is None:
            return False
        if now_ns - placed_ns < self._reprice_ns or not self._market.continuous(order.slot):
            return True
        return order.px > 0 and order.px == self._market.locked(order.slot, order.side)

    def due(
        self,
        open_: Sequence[Position],
        now_ns: int,
        able: Callable[[Position], bool] = lambda position: True,
    ) -> list[Position]:
        """Of open positions those whose closing order is to be placed now.

        able(position): it may be placed now; nothing waits for a short that may not.
        """
        self._tell(open_)
        free = [p for p in open_ if self._free(p, now_ns) and able(p)]
        due = [p for p in free if not self.waits(p, open_, now_ns, able)]
        return [p for p in due if not self.refused(key_of(p)) or now_ns >= self._tried[key_of(p)].again_ns]

    def _free(self, position: Position, now_ns: int) -> bool:
        """No order of ours is live whose end comes first. One of unknown fate that closes nothing of it holds
        it up for seconds: were it to fill, what that makes is closed as well.
        """
        closing, other, side = position.open_buy, position.open_sell, Side.SELL
        if position.quantity > 0:
            closing, other, side = position.open_sell, position.open_buy, Side.BUY
        return not closing and (not other or other == self.hands.unknown(position, side, now_ns - LOST_NS))

    def waits(
        self,
        position: Position,
        open_: Sequence[Position],
        now_ns: int,
        able: Callable[[Position], bool] = lambda position: True,
    ) -> bool:
        """Others come first, or it is not to be closed at all."""
        if position.quantity > 0:
            shorts = (p for p in open_ if p.quantity < 0 and (p.open_buy or able(p)))
            if any(self._first(short, position, now_ns) for short in shorts):
                return True
        return self.stays(position, open_)

    def _first(self, short: Position, long: Position, now_ns: int) -> bool:
        """A short is bought back before a long is sold."""
        if self.given_up(short):
            return False
        tried = self._tried.get(key_of(short))
        waited_ns = now_ns - tried.began_ns if tried is not None else 0
        return self._may_cover(long, short) or waited_ns < SHORTS_FIRST_NS

    def close(self, position: Position, now_ns: int) -> list[Order]:
        """Place its closing order, in slices where it must; what becomes of it is seen in the book."""
        key = key_of(position)
        instrument = self._ports.instruments[position.slot]
        quantity = sendable(abs(position.quantity), instrument, self._slices_max)
        side = Side.BUY if position.quantity < 0 else Side.SELL
        tried = self._tried.setdefault(key, Tried(now_ns))
        kind, px = self._terms(position.slot, side, tried.turns if self._learned(tried) else 0)
        if px and px == self._market.locked(position.slot, side):
            text = f"{instrument.key} stands at its circuit limit: an order to close {quantity} waits there"
            self._say("EXIT_AT_CIRCUIT", text, key)
        else:
            self._over("EXIT_AT_CIRCUIT", key)
        tried.refused, tried.turns = tried.refused + 1, tried.turns + 1
        pause_ns = PAUSE_MAX_NS if tried.refused >= REFUSED_MAX else PAUSE_NS << (tried.refused - 1)
        tried.order, tried.again_ns = None, now_ns + pause_ns
        placed = self.hands.place(*key, side, quantity, kind, now_ns, px=px)
        for order in placed:
            tried.order, self._placed_ns[order.order_no] = order, now_ns
        if tried.order is None:
            tried.why = self._outbox.why
        return placed

    def _tell(self, open_: Sequence[Position]) -> None:
        """People learn once that it was refused and why, what no order can close, and when that is over."""
        held = {key_of(p): p for p in open_}
        for code, key in list(self._told):
            if key not in held or (code == "EXIT_REFUSED" and self.taken(key)):
                self._over(code, key)
        for key, position in held.items():
            instrument = self._ports.instruments[position.slot]
            if odd_lot(position.quantity, instrument):
                self._say("ODD_LOT", odd_text(position.quantity, instrument), key)
            elif ("ODD_LOT", key) in self._told:
                self._over("ODD_LOT", key)
            refused = self.refused(key) and not (position.open_buy or position.open_sell)
            if ("EXIT_REFUSED", key) in self._told or not refused:
                continue
            side, cause = "sell" if position.quantity > 0 else "buy", self._tried[key].cause
            text = f"the order to {side} {abs(position.quantity)} {instrument.key} was refused: {cause}"
            self._say("EXIT_REFUSED", f"{text}; it is tried again, ever more seldom", key)

    def _say(self, code: str, text: str, key: Key) -> None:
        self._told.add((code, key))
        self._outbox.alert(code, text, named(self._ports.instruments[key[1]].key, key))

    def _over(self, code: str, key: Key) -> None:
        self._told.discard((code, key))
        self._outbox.clear(code, named(self._ports.instruments[key[1]].key, key))

    def last(self, key: Key) -> Order | None:
        """The newest closing order of a position; None: there is none, or the gate refused it."""
        tried = self._tried.get(key)
        return tried.order if tried is not None else None

    def cause(self, key: Key) -> str:
        """Why the newest one was refused by the gate; "": it was not."""
        tried = self._tried.get(key)
        return tried.why if tried is not None and tried.order is None else ""

    def _terms(self, slot: int, side: int, turns: int) -> tuple[OrderType, int]:
        """Order type and price, 0: none. One that is refused may be so for its type or its price: both change
        from turn to turn.
        """
        if at_circuit := self._market.locked(slot, side):
            return OrderType.LIMIT, at_circuit
        last, at_market = self._market.last(slot), self._market.at_market(slot)
        if not last or (at_market and turns % 2 == 0):
            return OrderType.MARKET, 0
        px = beyond(last, side, self._gap * (1 + turns // 2 % STEPS), self._ports.instruments[slot])
        return OrderType.LIMIT, self._market.inside(px, slot)

    def refused(self, key: Key) -> int:
        """How often in a row its closing order was refused, or came to nothing; 0 while one is at work."""
        tried = self._tried.get(key)
        return self._learned(tried) if tried is not None and not tried.works else 0

    def taken(self, key: Key) -> bool:
        """None of it was refused, or the broker has taken the newest: some has filled, or it rested."""
        tried = self._tried.get(key)
        return tried is None or not self._learned(tried)

    def _learned(self, tried: Tried) -> int:
        off = tried.order is not None and self.hands.called_off(tried.order)
        return tried.learn(self._ports.clock.mono_ns(), called_off=off)

    def given_up(self, position: Position) -> bool:
        """Refused so often that nothing waits for it any more."""
        return self.refused(key_of(position)) >= REFUSED_MAX

    def stays(self, position: Position, open_: Sequence[Position]) -> bool:
        """It cannot be closed, or must not be: a long derivative may cover a short one that cannot."""
        instrument = self._ports.instruments[position.slot]
        if self.given_up(position) or not sendable(abs(position.quantity), instrument, 1):
            return True
        return position.quantity > 0 and any(
            p.quantity < 0 and self.given_up(p) and self._may_cover(position, p) for p in open_
        )

    def _may_cover(self, long: Position, short: Position) -> bool:
        """Derivatives on the same underlying."""
        one, other = self._ports.instruments[long.slot], self._ports.instruments[short.slot]
        return one.kind != "EQ" and other.kind != "EQ" and one.name == other.name

    def try_again(self, key: Key) -> None:
        """One more time, although it was given up."""
        if (tried := self._tried.get(key)) is not None:
            tried.refused, tried.again_ns = min(tried.refused, REFUSED_MAX - 1), 0

    def try_late(self, open_: Sequence[Position], now_ns: int) -> None:
        """What was given up some time ago is tried once more."""
        for position in open_:
            if self.given_up(position) and now_ns >= self._tried[key_of(position)].again_ns:
                self.try_again(key_of(position))


def key_of(position: Position) -> Key:
    """Strategy, slot and product."""
    return position.strategy, position.slot, position.product


def shorts_first(positions: Iterable[Position]) -> list[Position]:
    """In the order in which they are closed."""
    return sorted(positions, key=lambda p: (p.quantity > 0, p.slot, p.strategy, p.product))
