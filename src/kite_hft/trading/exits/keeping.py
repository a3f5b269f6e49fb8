"""Layer 2, orders process, cold: all who act for strategies, put together: one face for the order stage."""

from __future__ import annotations

from collections.abc import Callable

from kite_hft.layout import IntentKind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.exits.at_broker import AtBroker
from kite_hft.trading.exits.at_circuit import AtCircuit
from kite_hft.trading.exits.closing import Closer
from kite_hft.trading.exits.flatten import Flatten
from kite_hft.trading.exits.groups import Groups
from kite_hft.trading.exits.own_stops import OwnStops
from kite_hft.trading.exits.plans import Plans
from kite_hft.trading.exits.prices import Market
from kite_hft.trading.exits.settling import Settling
from kite_hft.trading.exits.square_off import SquareOff
from kite_hft.trading.exits.stewards import NEVER_NS, Hands, Stewards
from kite_hft.trading.exits.strangers import closing_by_others
from kite_hft.trading.exits.trigger import Trigger
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.exits.trimming import Trimming
from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.sending.asides import Aside, Asides
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S


class Keeper:
    """Makes the stewards, hands them what they need, and lets them act in their order.

    `submit` hands a call beside orders to the transport. Closing everything comes first, and the others
    keep still meanwhile.
    """

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        desk: Desk,
        intake: Intake,
        reader: BookReader,
        reconciler: Reconciler,
        submit: Callable[[Aside, HttpRequest], None],
        gate: Gate,
    ) -> None:
        hands = Hands(book, desk, intake, config.limits.orders_per_day)
        market = Market(ports, config.risk.band_age_s)
        self._hands = hands
        self._own_stops = OwnStops(ports, config, book, outbox, hands)
        self._desk = desk
        orders = config.limits.triggers_are_orders
        self.asides = Asides(desk.egress, desk.throttle, submit, triggers_are_orders=orders)
        self.triggers = Triggers(
            ports,
            book,
            outbox,
            desk,
            self.asides,
            intake.next_engine_seq,
            reader.want_triggers,
            round(config.absence_horizon_s * NS_PER_S),
            config.fsync_before_send,
        )
        closer = Closer(ports, config, outbox, hands, market)
        self.flatten = Flatten(ports, book, outbox, reader, closer, self.triggers)
        closer = Closer(ports, config, outbox, hands, market)
        self.square_off = SquareOff(ports, config, book, outbox, reader, closer, market, self.triggers)
        self._settling = Settling(ports, config, book, outbox)
        at_broker = AtBroker(ports, config, book, outbox, intake, market, self.triggers, gate.judge_trigger)
        self._at_broker, at_broker.listed = at_broker, lambda: reader.triggers
        self.plans = Plans(ports, config, book, outbox, intake, hands, market, at_broker, gate.peek)
        self.groups = Groups(ports, config, book, outbox, desk, intake, hands, market, self.asides, reader)
        plans = self.plans.plans
        at_broker.follows = lambda key: key in plans and plans[key].gtt
        self.flatten.others = (self.plans, self.groups, self.square_off)
        self.plans.closing, self.plans.look_up = self.square_off.closing, desk.look_up
        self.plans.strangers = lambda key: closing_by_others(
            reader.rows, book, ports.instruments, key, self.triggers.claims.open.__contains__
        )
        self.plans.foreign, self.plans.giving.claims = self.groups.unwinder.owns, self.groups.claims
        self.groups.unwinder.closing = self.square_off.closing
        self.groups.unwinder.covers = self.triggers.covers
        at_circuit = AtCircuit(ports, config, book, outbox, market)
        self._trimming = Trimming(book, self.triggers, hands, ports.instruments)
        stewards = (self.flatten, self.square_off, self.groups, self.plans, self._trimming, self.triggers)
        self.stewards = Stewards(outbox, (*stewards, at_circuit, self._own_stops))
        self.triggers.fired, self.triggers.turned_down = self._fired, self.plans.turned_down
        self.triggers.passed = reconciler.externals.taken_back
        self.triggers.recognised = reconciler.recognised
        reader.on_triggers = self.triggers.fold
        reconciler.claims = self.triggers.claims.claims
        intake.takers |= {int(IntentKind.EXITS): self.plans.take, int(IntentKind.GTT): at_broker.take}
        intake.make_room = self.plans.giving.make_room
        intake.change_trigger = at_broker.change
        intake.group, intake.at_market = self.groups.take, at_circuit.turn

    def restore(self, found: Recovered, now_ns: int) -> None:
        """What the journal says an earlier process looked after."""
        self.plans.restore(found.plans.values(), now_ns)
        self.triggers.restore(list(found.triggers.values()))
        self.triggers.restore_absent(list(found.triggers_absent.values()))
        self.triggers.claims.over |= found.triggers_over
        self.groups.restore(found.groups.values(), now_ns)
        self.plans.clear_up(now_ns)

    def begin(self, now_ns: int) -> None:
        """The stage is ACTIVE from now on: before anything is taken in."""
        self._at_broker.begin()
        self.plans.begin(now_ns)
        self._trimming.begin()

    def _fired(self, trigger: Trigger, order: Order, now_ns: int) -> None:
        """A trigger has placed an order."""
        self.plans.fired(trigger, order, now_ns)
        self._trimming.fired(trigger.key)

    @property
    def busy(self) -> bool:
        """Something is under way that must end before the stage may."""
        closing = self.flatten.alive or (self.square_off.alive and self.square_off.busy)
        return closing or self.groups.alive or len(self.asides) > 0

    @property
    def may_place(self) -> bool:
        """The broker takes another order today."""
        return self._hands.may_place

    def fit_stops(self, now_ns: int) -> None:
        """Nothing may be opened any more, by no stop either. Where all is closed its exits are cancelled."""
        if not (self.flatten.alive or self.square_off.alive):
            self._own_stops.fit(now_ns)

    @property
    def stops_fitted(self) -> bool:
        """No stop of a strategy's own is larger than what it closes."""
        return self.flatten.alive or self.square_off.alive or self._own_stops.fitted

    def leave(self, now_ns: int) -> None:
        """The engine stops without closing positions: what protects them stays behind at the broker."""
        self.plans.leave(now_ns)

    def act(self, now_ns: int, *, active: bool) -> int:
        """Everybody's turn; returns how many orders, modifications and cancels that made.

        Not `active`: nothing is sent, but what the end of the day leaves open is told.
        """
        if now_ns >= self.square_off.wake_ns:
            self.square_off.wake(now_ns)
            self._settling.look()
        if active:
            return self.stewards.act(now_ns)
        return self.square_off.act(now_ns, active=False) if self.square_off.alive else 0

    def send(self, now_ns: int, *, active: bool) -> int:
        """Order calls and calls beside orders that may leave now; returns how many did. Urgent ones of both
        leave in the order in which they came. Not `active`: order calls alone.
        """
        desk, asides = self._desk, self.asides
        if not active:
            return desk.send(now_ns)
        first = asides.send_urgent(now_ns, desk.throttle.urgent_since_ns) if len(asides) else 0
        sent = first + desk.send(now_ns)
        return sent + asides.send(now_ns) if len(asides) else sent

    def next_ns(self, now_ns: int, *, active: bool) -> list[int | None]:
        """When to be asked again although nothing arrives."""
        square_off = self.square_off
        wake_ns = square_off.wake_ns if square_off.wake_ns < NEVER_NS else None
        if not active:
            return [square_off.next_ns(now_ns) if square_off.alive else wake_ns]
        return [self.stewards.next_ns(now_ns), self.asides.next_ns(now_ns), wake_ns]
