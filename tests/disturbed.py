"""The order stage before an exchange that fills, fires and fails; a person trades on the same account."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
from gtt_tools import Gtts
from orders_world import PX, TEXT, Answer, S, World, error, form, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(
    max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, repeats_max=10**6, price_collar_percent=50
)
ENDED = ("COMPLETE", "CANCELLED", "REJECTED")
PLACES = {
    (0, Product.MIS): (1, 256001, "NSE", "SHARE0"),
    (0, Product.CNC): (1, 256001, "NSE", "SHARE0"),
    (3, Product.NRML): (75, (1003 << 8) + 2, "NFO", "SHARE3"),
}
"""(slot, product) -> lot, token, exchange, symbol."""
BLANK = {"kind": IntentKind.EXITS, "order_type": 0, "side": 0, "qty": 0, "validity": 0, "px": 0}


def lost() -> TransportError:
    return TransportError("timed out", sent=True)


class Disturbed:
    """One day, all of it from `seed`. Strategies 1 and 2 trade; a person closes what the account holds."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.px, self.seq, self.hands = PX, 0, 0
        self.failing = self.blind = False
        self.gtts: dict[int, dict[str, Any]] = {}
        self.told: list[dict[str, Any]] = []  # updates that are on their way
        self.config = OrdersConfig(limits(), WIDE)
        self.world = World(config=self.config).start()
        self.world.broker.on_call, self.world.broker.on_read = self.call, self.read

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return self.world.broker.rows

    # The broker

    def read(self, request: HttpRequest) -> Answer:
        return lost() if self.blind and self.chance.random() < 0.9 else self.world.broker.read(request)

    def call(self, request: HttpRequest) -> Answer:
        chance = self.chance.random() if self.failing else 1.0
        if chance < 0.25:
            return lost() if chance < 0.1 else error(*FAULTS[chance < 0.2])
        answer = self.carry_out(request)
        return lost() if chance < 0.35 else answer

    def carry_out(self, request: HttpRequest) -> Answer:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        if request.path.startswith("/gtt"):
            return self.trigger(request)
        broker = self.world.broker
        if request.method == "POST":
            order_id = broker.enter(request)
            self.stands(self.rows[order_id])
            return ok({"order_id": order_id})
        order_id = request.path.rsplit("/", 1)[1]
        row = self.rows[order_id]
        whole = request.method == "PUT" and int(form(request).get("quantity", row["quantity"]))
        if row["status"] in ENDED or (whole and whole <= row["filled_quantity"]):
            return error(400, "OrderException", "it has ended")
        broker.accept(request)
        if request.method == "PUT":
            self.stands(row)
        self.tell(row)
        return ok({"order_id": order_id})

    def stands(self, row: dict[str, Any]) -> None:
        stop = row["order_type"] in ("SL", "SL-M")
        row["status"] = "TRIGGER PENDING" if stop else "OPEN"
        row["pending_quantity"] = row["quantity"] - row["filled_quantity"]

    def trigger(self, request: HttpRequest) -> Answer:
        number = int(request.path.rsplit("/", 1)[1]) if request.method != "POST" else 100 + len(self.gtts)
        if request.method != "POST" and self.gtts[number]["status"] != "active":
            return error(400, "GeneralException", "Trigger cannot be changed as it is already triggered.")
        if request.method == "DELETE":
            self.gtts[number]["status"] = "deleted"
        else:
            self.gtts[number] = Gtts.row(Gtts(World()), number, form(request))
        self.world.broker.triggers = list(self.gtts.values())
        return ok({"trigger_id": number})

    def tell(self, row: dict[str, Any]) -> None:
        if self.chance.random() < 0.7:  # the others are never told
            self.told.append(dict(row))

    # The exchange

    def trade(self) -> None:
        """What the price meets fills, as a rule, as a rule whole; triggers fire."""
        px = self.px / 100
        for row in [row for row in self.rows.values() if row["status"] not in ENDED]:
            sells = row["transaction_type"] == "SELL"
            if row["status"] == "TRIGGER PENDING":
                if not (px <= row["trigger_price"] if sells else px >= row["trigger_price"]):
                    continue
                row["status"] = "OPEN"
            priced = row["order_type"] in ("LIMIT", "SL")
            if priced and not (row["price"] <= px if sells else row["price"] >= px):
                continue
            if self.chance.random() < 0.5:
                self.fill(row)
        for number, gtt in self.gtts.items():
            condition = gtt["condition"]
            for leg, value in enumerate(condition["trigger_values"]):
                below = value <= condition["last_price"]
                if gtt["status"] == "active" and (px <= value if below else px >= value):
                    self.fire(number, leg)

    def fill(self, row: dict[str, Any]) -> None:
        left, lot = row["quantity"] - row["filled_quantity"], 75 if row["exchange"] == "NFO" else 1
        part = left if self.chance.random() < 0.6 else self.chance.randint(1, max(1, left // lot)) * lot
        row["filled_quantity"] += min(part, left)
        row["pending_quantity"] = row["quantity"] - row["filled_quantity"]
        row["average_price"] = self.px / 100
        if not row["pending_quantity"]:
            row["status"] = "COMPLETE"
        self.tell(row)

    def fire(self, number: int, leg: int) -> None:
        gtt = self.gtts[number]
        terms, order_id = gtt["orders"][leg], f"77{number}"
        result = {"status": "success", "order_id": order_id, "rejection_reason": ""}
        terms["result"], gtt["status"] = {"order_result": result}, "triggered"
        self.enter(order_id, terms, gtt["condition"]["instrument_token"], "")

    def enter(self, order_id: str, terms: dict[str, Any], token: int, tag: str) -> dict[str, Any]:
        row = self.rows[order_id] = terms | {
            "order_id": order_id, "status": "OPEN", "tag": tag or None, "tags": [tag] if tag else [],
            "instrument_token": token, "filled_quantity": 0, "pending_quantity": terms["quantity"],
            "average_price": 0, "trigger_price": 0, "order_timestamp": "2027-01-15 13:30:00",
            "exchange": "NFO" if terms["tradingsymbol"] == "SHARE3" else "NSE",
        }  # fmt: skip
        return row

    # Who trades

    def by_hand(self) -> None:
        """A person closes a part of what the account holds, or all of it."""
        (slot, product), (lot, token, exchange, symbol) = self.chance.choice(list(PLACES.items()))
        held = sum(p.quantity for p in self.world.stage.book.in_slot(slot, product))
        if not held:
            return
        self.hands += 1
        some = self.chance.random() < 0.4
        quantity = min(abs(held), self.chance.randint(1, 6) * lot) if some else abs(held)
        away = self.chance.choice([0.0, 0.0, 0.05]) * (1 if held > 0 else -1)
        terms = {
            "tradingsymbol": symbol, "exchange": exchange, "product": product.name, "quantity": quantity,
            "transaction_type": "SELL" if held > 0 else "BUY", "order_type": "LIMIT",
            "price": self.px / 100 * (1 + away),
        }  # fmt: skip
        self.tell(self.enter(f"99{self.hands}", terms, token, "byhand"))

    def strategy(self) -> None:
        (slot, product), (lot, *_) = self.chance.choice(list(PLACES.items()))
        strategy, what = self.chance.choice([1, 1, 2]), self.chance.random()
        held = self.world.stage.book.standing(strategy, slot, product).quantity
        words: dict[str, Any] = {"slot": slot, "product": product, "strategy": strategy}
        sign, out = (-1, Side.BUY) if held < 0 else (1, Side.SELL)
        if what < 0.3:
            side = Side.SELL if product != Product.CNC and self.chance.random() < 0.4 else Side.BUY
            off = self.chance.choice([0, 0, 600]) * (-1 if side == Side.BUY else 1)
            words |= {"side": side, "qty": 10 * lot, "px": self.px + off}
        elif what < 0.5 and held:
            words |= {"side": out, "qty": abs(held), "px": self.px + sign * self.chance.choice([0, 600])}
        elif what < 0.55 and held:
            words |= {"side": out, "qty": abs(held), "order_type": OrderType.SLM, "px": 0}
            words["trigger_px"] = self.px - sign * 300
        elif what < 0.6 and product == Product.CNC:
            words |= {"kind": IntentKind.GTT, "side": out, "qty": abs(held) or 10}
            words |= {"px": self.px - 300, "trigger_px": self.px - 300}
        elif what < 0.68:
            return self.group(strategy)
        else:
            words |= BLANK | {"trigger_px": self.px - sign * self.chance.choice([100, 200, 400])}
            words["px"] = self.px + sign * 300 if self.chance.random() < 0.5 else 0
            words["flags"] = 2 if product != Product.MIS and self.chance.random() < 0.6 else 0
        self.wish(words)

    def group(self, strategy: int) -> None:
        words = {"group": self.seq + 1, "legs": 2, "strategy": strategy, "qty": 150}
        short = {"leg": 1, "slot": 3, "side": Side.SELL, "product": Product.NRML}
        self.wish(words | short | {"px": self.px + self.chance.choice([0, 300])})
        self.wish(words | {"leg": 2, "px": self.px + self.chance.choice([100, 0, -200])})

    def wish(self, words: dict[str, Any]) -> None:
        self.seq += 1
        self.world.quote(self.px)
        self.world.wish(self.seq, **words)

    # Time

    def step(self, seconds: float = 0.05) -> None:
        self.world.clock.advance(round(seconds * S))
        self.world.quote(self.px)
        self.trade()
        while self.told and self.chance.random() < 0.8:
            data = json.dumps({"type": "order", "data": self.told.pop(0)}).encode()
            text = np.zeros(1, TEXT)
            text["data"], text["length"] = data, len(data)
            self.world.texts.push(text)
        self.world.step()

    def restart(self) -> None:
        old, faults = self.world, (self.failing, self.blind)
        self.failing = self.blind = False
        old.broker.ready.clear()
        self.world = World(
            broker=old.broker, clock=old.clock, journal=old.journal, latest=old.latest,
            history=list(old.journal.records), config=self.config, more={"restarted": True},
        )  # fmt: skip
        self.world.stage.start()
        while not self.world.stage.active:
            self.step()
        self.failing, self.blind = faults

    def live(self) -> None:
        """Half a minute of everything, then four minutes of calm: no fault, no person, no other price."""
        for _ in range(self.chance.randint(20, 60)):
            chance = self.chance.random()
            if chance < 0.1:
                self.failing = self.chance.random() < 0.4
            elif chance > 0.93:
                self.blind = self.chance.random() < 0.3
            chance = self.chance.random()
            if chance < 0.35:
                self.strategy()
            elif chance < 0.55:
                self.by_hand()
            elif chance < 0.75:
                self.px = max(5_000, self.px + self.chance.choice([-300, -100, -50, 50, 100, 300]))
            elif chance < 0.77:
                self.restart()
            for _ in range(self.chance.randint(1, 12)):
                self.step()
        self.failing = self.blind = False
        for row in self.rows.values():
            if row["order_id"].startswith("99") and row["status"] not in ENDED:
                row |= {"status": "CANCELLED", "pending_quantity": 0}
        for _ in range(600):
            self.step(0.45)

    # What must hold then

    def engines(self, strategy: int, slot: int, product: int) -> dict[int, int]:
        """Side -> what the engine has placed about a position and lies at the broker: orders, triggers."""
        found = {int(Side.BUY): 0, int(Side.SELL): 0}
        here = (strategy, slot, product)
        for order in self.world.stage.book.live():
            if order.strategy_seq >= ENGINE_SEQ and (order.strategy, order.slot, order.product) == here:
                row = self.rows[order.order_id]
                found[order.side] += row["quantity"] - row["filled_quantity"]
        for trigger in self.world.stage.keeper.triggers.standing.values():
            if trigger.for_exits and trigger.key == here:
                found[trigger.legs[0].side] += self.gtts[int(trigger.trigger_id)]["orders"][0]["quantity"]
        return found

    def wrong(self) -> list[str]:
        """What does not hold."""
        book, found = self.world.stage.book, list[str]()
        for order in book.live():
            if order.status is OrderStatus.AMBIGUOUS:
                found.append(f"order {order.order_no} is not known")
        known = {order.order_id for order in book.live()}
        for order_id, row in self.rows.items():
            if row["status"] not in ENDED and order_id not in known:
                found.append(f"{order_id} lives at the broker alone")
        known = {trigger.trigger_id for trigger in self.world.stage.keeper.triggers.standing.values()}
        found += [
            f"trigger {n}" for n, g in self.gtts.items() if g["status"] == "active" and str(n) not in known
        ]
        if self.world.stage.keeper.groups.alive:
            found.append("a group is under way")
        for (slot, product), (lot, token, *_) in PLACES.items():
            rows = [
                r
                for r in self.rows.values()
                if (r["instrument_token"], r["product"]) == (token, product.name)
            ]
            signs = {"BUY": 1, "SELL": -1}
            there = sum(signs[row["transaction_type"]] * row["filled_quantity"] for row in rows)
            ours = sum(p.quantity for p in book.positions.values() if (p.slot, p.product) == (slot, product))
            if there != ours:
                found.append(f"{slot} {product.name}: {ours} held by the book, {there} by the broker")
            for strategy in (1, 2):
                found += self.misfits(strategy, slot, product, lot)
        return found

    def misfits(self, strategy: int, slot: int, product: int, lot: int) -> list[str]:
        """Exits that close more than is held, or less than their plan is to."""
        position = self.world.stage.book.standing(strategy, slot, product)
        held, engines = position.quantity, self.engines(strategy, slot, product)
        closing, other = (Side.SELL, Side.BUY) if held > 0 else (Side.BUY, Side.SELL)
        name = f"strategy {strategy}, {slot} {product}: {held} held, {engines}"
        if engines[other] or engines[closing] > abs(held):
            return [f"{name}: too much"]
        plan = self.world.stage.keeper.plans.plans.get((strategy, slot, product))
        own = position.open_sell if held > 0 else position.open_buy
        covered = max(own, 0) + self.world.stage.keeper.triggers.covers((strategy, slot, product))
        if plan is not None and plan.rests and held and covered < abs(held) // lot * lot:
            return [f"{name}: the plan covers {covered}"]
        return []

    def close_all(self) -> list[str]:
        """The engine ends and closes everything; what is left after half a minute."""
        self.world.stage.begin_stop(self.world.clock.mono, "flatten")
        for _ in range(300):
            self.step(0.1)
        held = [p for p in self.world.stage.book.positions.values() if p.quantity and p.strategy in (1, 2)]
        live = [row["order_id"] for row in self.rows.values() if row["status"] not in ENDED]
        active = [number for number, gtt in self.gtts.items() if gtt["status"] == "active"]
        return [str(what) for what in (*held, *live, *active)]


FAULTS: dict[bool, tuple[int, str, str]] = {
    True: (500, "GeneralException", "?"),
    False: (400, "InputException", "not now"),
}
