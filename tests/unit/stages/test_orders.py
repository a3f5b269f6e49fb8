"""The order stage end to end, in process, against a scripted broker."""

from __future__ import annotations

from orders_world import PX, World, error, filled, form, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.ports import OrdersConfig


def test_start_reads_the_books_and_only_then_takes_intents() -> None:
    world = World()
    world.stage.start()
    world.send(1)
    assert world.reason(1) == "NOT_ACTIVE"
    world.run(3)
    assert world.stage.active
    assert [r.path for r in world.broker.sent] == [
        "/orders", "/trades", "/portfolio/positions", "/gtt/triggers", "/orders", "/user/margins",
    ]  # fmt: skip
    assert world.stage.reader.funds is not None and world.stage.reader.funds.net_paise == 100_050


def test_accepted_and_filled() -> None:
    world = World().start()
    world.send(1)
    placed = form(world.broker.calls("POST")[0])
    assert (placed["price"], placed["quantity"], placed["product"], placed["order_type"]) == (
        "100.00", "10", "MIS", "LIMIT",
    )  # fmt: skip
    assert placed["tag"] == world.tags.tag(1)
    filled(world, 10, PX - 5)
    assert world.status(1) is OrderStatus.COMPLETE
    assert world.kinds(1) == ["SENT", "ACCEPTED", "FILL", "COMPLETE"]
    last = world.told[-1]
    assert (last["position"], last["filled_value_paise"], last["filled_qty"]) == (10, 99_950, 10)
    assert world.journal.kinds()[-4:] == ["STATE", "INTENT", "ANSWER", "REPORT"]
    report = world.stage.report()
    pnl = {"gross": 50, "charges": 0, "net": 50, "realised": 0, "unrealised": 50}
    assert report["pnl_paise"] == pnl | {"by_strategy": {"1": pnl}, "by_product": {"MIS": pnl}}
    assert report["orders"]["filled"] == report["orders"]["sent"] == report["orders"]["accepted"] == 1
    assert world.order_rows[-1]["status"] == "COMPLETE"
    assert world.trade_rows[-1]["value"] == "999.50"


def test_the_intent_is_journalled_before_it_is_sent() -> None:
    world = World().start()
    seen: list[str] = []

    def call(request: HttpRequest) -> HttpResponse:
        seen.append(world.journal.kinds()[-1])
        return ok({"order_id": world.broker.enter(request)})

    world.broker.on_call = call
    world.send(1)
    assert seen == ["INTENT"]
    judged = next(r for r in world.journal.records if r.kind.name == "INTENT").data()
    assert (judged["ref_px"], judged["tick_seq"], judged["tick_age_ns"]) == (PX, 1, 0)


def test_rejected_by_the_broker_with_proof() -> None:
    world = World().start()
    world.broker.on_call = lambda request: error(400, "MarginException", "Insufficient funds.")
    world.send(1)
    assert world.status(1) is OrderStatus.REJECTED
    assert world.kinds(1) == ["SENT", "REJECTED"] and world.reason(1) == "BROKER"
    assert world.order_rows[-1]["message"] == "Insufficient funds."


def test_rejected_by_the_exchange_after_acceptance() -> None:
    world = World().start()
    world.send(1)
    world.update(world.row() | {"status": "REJECTED", "status_message": "circuit"})
    assert world.kinds(1) == ["SENT", "ACCEPTED", "REJECTED"] and world.order(1).message == "circuit"


def test_duplicate_and_out_of_order_updates_and_the_update_label() -> None:
    world = World().start()
    world.send(1)
    row = world.row()
    half = row | {"filled_quantity": 5, "average_price": 100.0}
    world.update(half, status="UPDATE")
    assert world.status(1) is OrderStatus.PENDING and world.quantity() == 5
    world.update(half)
    assert world.status(1) is OrderStatus.OPEN
    world.update(half)
    world.update(row)  # older: nothing filled yet
    world.update(row, status="PUT ORDER REQ RECEIVED")
    assert world.quantity() == 5 and world.status(1) is OrderStatus.OPEN
    world.update(row, status="COMPLETE", filled_quantity=10, average_price=100.0)
    world.update(half)
    world.update(row, status="CANCELLED")
    assert world.status(1) is OrderStatus.COMPLETE and world.quantity() == 10
    assert world.kinds(1) == ["SENT", "ACCEPTED", "FILL", "UPDATED", "FILL", "COMPLETE"]
    assert world.stage.outbox.totals["updates_duplicate"] == 2  # the same words twice
    assert world.stage.outbox.totals["updates_label"] == 1
    assert world.stage.outbox.totals["updates"] == 8


def test_update_before_the_answer() -> None:
    world = World().start()
    world.broker.hold = True
    world.quote()
    world.wish(1)
    world.step()
    filled(world, 10)
    assert world.kinds(1) == ["SENT", "ACCEPTED", "FILL", "COMPLETE"]
    world.broker.hold = False
    world.step()
    assert world.status(1) is OrderStatus.COMPLETE and not world.stage.outbox.halted


def test_executions_correct_the_average() -> None:
    world = World().start()
    world.send(1, qty=3)
    filled(world, 3, 9_998)  # 299.94; the executions sum to 299.95
    row = world.row()
    world.broker.trades = [
        {"trade_id": str(i), "order_id": row["order_id"], "instrument_token": row["instrument_token"],
         "transaction_type": "BUY", "product": "MIS", "quantity": q, "average_price": px}
        for i, (q, px) in enumerate([(1, 100.05), (2, 99.95)])
    ]  # fmt: skip
    world.run(1)
    assert world.order(1).filled_units == 29_995
    assert world.trade_rows[-1]["value"] == "0.01" and world.trade_rows[-1]["quantity"] == 0
    assert world.stage.report()["pnl_paise"]["gross"] == 5


def test_cancel() -> None:
    world = World().start()
    world.send(1)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    assert [r.path for r in world.broker.calls("DELETE")] == [f"/orders/regular/{world.order(1).order_id}"]
    world.run(3)
    assert world.status(1) is OrderStatus.CANCELLED
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    assert world.reason(3) == "ORDER_NOT_OPEN"
    world.send(4, kind=IntentKind.CANCEL, target_seq=99)
    assert world.reason(4) == "UNKNOWN_ORDER"


def test_cancel_loses_the_race_against_a_fill() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: error(400, "OrderException", "Order cannot be cancelled.")
    world.row().update(status="COMPLETE", filled_quantity=10, average_price=100.0)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.5)
    assert world.status(1) is OrderStatus.COMPLETE and world.quantity() == 10
    assert world.stage.idle


def test_cancel_of_an_order_without_a_name_waits_for_it() -> None:
    world = World().start()
    world.broker.hold = True
    world.quote()
    world.wish(1)
    world.step()
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    assert not world.broker.calls("DELETE")
    world.broker.hold = False
    world.step(2)
    assert len(world.broker.calls("DELETE")) == 1


def test_cancel_of_an_order_that_still_waits_sends_nothing() -> None:
    world = World().start()
    for seq in range(1, 10):
        world.wish(seq)
    world.quote()
    world.step(2)
    assert world.status(8) in WORKING and world.status(9) is OrderStatus.NEW
    world.wish(10, kind=IntentKind.CANCEL, target_seq=9)
    world.step()
    assert world.status(9) is OrderStatus.CANCELLED and world.kinds(9) == ["CANCELLED"]
    world.run(2)
    assert len(world.broker.calls("POST")) == 8


def test_an_order_that_is_cancelled_while_it_waits_for_a_connection_never_leaves() -> None:
    world = World().start()
    egress, submit = world.stage.desk.egress, world.broker.submit
    asked: list[int] = []

    def busy(number: int, request: HttpRequest) -> None:
        if request.method == "POST":
            asked.append(number)
            egress.waits(number)
        else:
            submit(number, request)

    world.broker.submit = busy  # type: ignore[method-assign]
    for seq in (1, 2):
        world.send(seq)
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    assert [egress.stops(number) for number in asked] == ["cancelled before it left", ""]
    world.broker.ready += [(asked[0], TransportError("cancelled before it left", sent=False))]
    world.step(2)
    assert world.status(1) in TERMINAL and not world.stage.desk.cancelling


def test_modify() -> None:
    world = World().start()
    world.send(1)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=0, px=PX + 10)
    assert form(world.broker.calls("PUT")[0])["price"] == "100.10"
    assert "quantity" not in form(world.broker.calls("PUT")[0])
    assert (world.order(1).px, world.order(1).quantity) == (PX + 10, 10)
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=10, px=PX + 10)
    assert world.reason(3) == "NO_CHANGE"
    world.send(4, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    world.run(3)
    assert world.order(1).quantity == 20 and world.stage.book.worst_case(0) == 20


def test_the_same_intent_twice_is_one_order_and_tells_nothing() -> None:
    world = World().start()
    world.send(1)
    world.send(1)
    assert len(world.broker.calls("POST")) == 1
    assert world.kinds(1) == ["SENT", "ACCEPTED"]
    assert world.stage.report()["orders"]["refused"] == {"DUPLICATE_INTENT": 1}


def test_stale_price_stops_openings_but_not_reductions() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(5, fresh=False)
    world.wish(2)
    world.wish(3, side=Side.SELL)
    world.wish(4, side=Side.SELL, qty=1)  # the position is spoken for
    world.step(2)
    assert world.reason(2) == "STALE_TICK" and world.status(3) in WORKING and world.reason(4) == "STALE_TICK"


def test_full_event_queue_never_blocks_and_hangs_the_strategy() -> None:
    world = World().start()
    world.events.room = 0
    world.send(1)
    world.events.room = 10
    assert world.status(1) in WORKING
    world.send(2)
    assert world.reason(2) == "HALTED" and world.stage.report()["orders"]["strategies_hung"] == [1]
    world.send(1, strategy=2)
    assert world.order(1, strategy=2).status in WORKING


def test_market_order_carries_protection_and_its_row_may_say_limit() -> None:
    world = World().start()
    world.send(1, order_type=OrderType.MARKET, px=0)
    assert form(world.broker.calls("POST")[0])["market_protection"] == "-1"
    world.row().update(order_type="LIMIT", price=102.0)
    world.run(3)
    assert world.order(1).px == 0


def test_the_configured_protection_is_sent_with_every_order_at_market() -> None:
    config = OrdersConfig(limits(), risk=RiskLimits(market_protection=2.5))
    world = World(config=config).start()
    world.send(1, order_type=OrderType.MARKET, px=0)
    world.send(2, order_type=OrderType.SLM, px=0, trigger_px=PX + 100)
    world.send(3, px=PX - 100)
    world.send(4, kind=IntentKind.MODIFY, target_seq=3, order_type=OrderType.MARKET, px=0, qty=0)
    sent = [form(request) for request in [*world.broker.calls("POST"), *world.broker.calls("PUT")]]
    assert [terms.get("market_protection") for terms in sent] == ["2.5", "2.5", None, "2.5"]


def test_orders_and_limits_of_the_throttle() -> None:
    world = World().start()
    for seq in range(1, 21):
        world.wish(seq, qty=1)
    world.quote()
    world.step()
    assert len(world.broker.calls("POST")) == 8
    world.run(1.0)
    assert len(world.broker.calls("POST")) == 8
    assert world.kinds(20) == ["REFUSED"] and world.reason(20) == "THROTTLE_DEADLINE"


def test_what_comes_late_from_a_worker_opens_nothing_and_still_closes() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    late_ns = world.clock.mono - 1
    world.send(2, deadline_ns=late_ns)
    assert world.reason(2) == "THROTTLE_DEADLINE" and len(world.broker.calls("POST")) == 1
    world.send(3, side=Side.SELL, deadline_ns=late_ns)
    assert len(world.broker.calls("POST")) == 2, "a sale of what is held closes it, flagged as an exit or not"


def test_unreadable_update_is_counted_and_the_book_read() -> None:
    world = World().start()
    polls = world.stage.outbox.totals["polls"]
    world.update({})
    world.run(0.5)
    assert (
        world.stage.outbox.totals["texts_unparsed"] == 1 and world.stage.outbox.totals["polls"] == polls + 1
    )


def test_stop_cancels_openings_keeps_exits_and_says_what_stays() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 100)
    world.send(3, px=PX - 100)
    world.stage.begin_stop(world.clock.mono)
    world.send(4)
    assert world.reason(4) == "HALTED"
    assert not world.stage.idle
    world.run(3)
    assert world.stage.idle
    summary = world.stage.close()
    assert summary == world.stage.report()["open"]
    assert [o["order_id"] for o in summary["orders"]] == [world.order(2).order_id]
    assert summary["positions"] == [{"instrument": "NSE:SHARE0", "product": "MIS", "quantity": 10}]
    assert world.journal.kinds()[-1] == "END"


def test_next_deadline_is_when_something_is_due() -> None:
    world = World().start()
    due = world.stage.next_deadline_ns(world.clock.mono)
    assert due is not None and due - world.clock.mono > 10_000_000_000, "the next look at the positions"
    world.send(1)
    due = world.stage.next_deadline_ns(world.clock.mono)
    assert due is not None and 0 <= due - world.clock.mono <= 2_000_000_000
