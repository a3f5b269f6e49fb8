"""The proof that the broker takes order calls from this machine's address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from orders_world import PX, REAL0, S, World, error, filled, limits

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, Side
from kite_hft.memory.journal import Kind
from kite_hft.sessions import ist_date, ist_midnight_ns
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.evidence import Left

NOT_THERE = error(400, "OrderException", "Couldn't find that `order_id`.")
REFUSED = error(403, "PermissionException", "IP (203.0.113.9) is not allowed to place orders for this app.")
DOWN = error(503, "NetworkException", "try again")
CONFIG = OrdersConfig(limits(), prove_address=True)
RULES = limits().address_proof
assert RULES is not None and RULES.at_s is not None


def world(
    answer: HttpResponse | TransportError | None = NOT_THERE, config: OrdersConfig = CONFIG, **more: Any
) -> tuple[World, list[Left]]:
    """A world whose broker gives `answer` to the cancel of an order that it does not have (None: none comes),
    and the rows of its evidence."""
    rows: list[Left] = []
    made = World(config=config, more={"on_call": rows.append, "leaves_from": lambda: "192.0.2.5"}, **more)
    answers(made, answer)
    return made, rows


def answers(made: World, answer: HttpResponse | TransportError | None) -> None:
    broker = made.broker

    def call(request: HttpRequest) -> HttpResponse | TransportError | None:
        impossible = request.method == "DELETE" and request.path.endswith(KITE.no_order)
        return answer if impossible else broker.accept(request)

    broker.on_call = call


def proofs(made: World) -> list[HttpRequest]:
    return [call for call in made.broker.calls("DELETE") if call.path.endswith(KITE.no_order)]


def until(made: World, true: Callable[[], Any], seconds: float = 10.0) -> None:
    for _ in range(round(seconds / 0.05)):
        if true():
            return
        made.run(0.05)
    raise AssertionError(made.alerts)


def test_it_is_proven_before_the_stage_is_active_and_told() -> None:
    made, rows = world()
    made.stage.start()
    seen = []
    for _ in range(60):
        made.run(0.05)
        seen.append((len(proofs(made)), made.stage.active))
    assert (1, False) in seen and (0, True) not in seen and seen[-1] == (1, True)
    assert [(row.call, row.name) for row in rows if row.part != "read"] == [("CANCEL", KITE.no_order)]
    assert made.stage.report()["address_proof"] == {
        "word": "allowed", "text": "OrderException: Couldn't find that `order_id`.", "asked": 1
    }  # fmt: skip
    assert "kite takes order calls from this machine (192.0.2.5" in made.stage.address.words()
    call, answer = (
        next(r.data() for r in made.journal.records if r.kind is kind) for kind in (Kind.CALL, Kind.ANSWER)
    )
    assert (call["call"], call["order_id"], call["proof"]) == ("cancel", KITE.no_order, "at the start")
    assert call["strategy"] == EXTERNAL and (answer["outcome"], answer["proof"]) == ("refused", "allowed")
    made.send(1)
    assert made.status(1) in WORKING and not made.alerts


def test_off_nothing_is_asked() -> None:
    made, _ = world(config=replace(CONFIG, prove_address=False))
    made.start()
    assert not proofs(made) and made.stage.report()["address_proof"]["word"] == "off"
    made, _ = world(config=replace(CONFIG, limits=replace(limits(), address_proof=None)))
    made.start()
    assert not proofs(made)


def test_a_refused_address_lets_nothing_open_until_the_broker_takes_a_call() -> None:
    made, _ = world(REFUSED)
    made.start()
    made.send(1)
    assert made.reason(1) == "REDUCING" and not made.broker.calls("POST")
    (told,) = [text for text in made.alerts if text.startswith("EGRESS_REFUSED")]
    assert "192.0.2.5" in told and "203.0.113.9" in told and KITE.register_at in told
    made.do("resume", by="somebody")  # a person does not end what the broker says
    made.run(0.5)
    made.send(2)
    assert made.reason(2) == "REDUCING" and made.stage.states.address
    asked = len(proofs(made))
    answers(made, NOT_THERE)
    made.run(2 * RULES.pause_s)
    assert len(proofs(made)) == asked + 1 and not made.stage.states.reducing
    assert {"code": "EGRESS_REFUSED", "cleared": True}.items() <= made.alert_fields[-1].items()
    made.send(3)
    assert made.status(3) in WORKING


def test_exits_and_cancels_pass_while_it_is_refused() -> None:
    made, _ = world()
    made.start()
    made.send(1)
    filled(made, 10)
    made.send(2, px=9_995)
    answers(made, REFUSED)
    made.stage.address._ask(made.clock.mono, "a test")
    made.run(0.5)
    assert made.stage.states.address
    made.send(3, side=Side.SELL)
    made.send(4, kind=IntentKind.CANCEL, target_seq=2)
    made.run(3.0)
    assert made.status(3) in WORKING and made.status(2).name == "CANCELLED"


def refuses_orders(made: World, proof: HttpResponse) -> None:
    made.broker.on_call = lambda request: (
        proof if request.method == "DELETE" and request.path.endswith(KITE.no_order) else REFUSED
    )


def test_an_address_that_changes_in_the_middle_of_the_day_ends_by_itself_too() -> None:
    made, _ = world()
    made.start()
    made.run(1.0)
    asked = len(proofs(made))
    refuses_orders(made, REFUSED)
    for seq in range(1, 8):
        made.send(seq, px=9_990 + seq * 5)
        made.run(0.5)
    assert made.reason(1) == "BROKER" and made.reason(7) == "REDUCING"
    assert len(proofs(made)) > asked and made.stage.states.address and not made.stage.states.reduced
    answers(made, NOT_THERE)
    made.run(RULES.pause_max_s)
    assert not made.stage.states.reducing
    assert {"code": "EGRESS_REFUSED", "cleared": True}.items() <= made.alert_fields[-1].items()
    made.send(8)
    assert made.status(8) in WORKING


def test_orders_that_are_refused_from_an_address_that_is_proven_count_as_any_other() -> None:
    made, _ = world()
    made.start()
    made.run(1.0)
    refuses_orders(made, NOT_THERE)
    for seq in range(1, 9):
        made.send(seq, px=9_990 + seq * 5)
        made.run(2.0)
    assert not made.stage.states.address and "rejected in a row" in made.stage.states.reduced
    told = [fields for fields in made.alert_fields if fields["code"] == "EGRESS_REFUSED"]
    assert told[-1].get("cleared") and proofs(made)


@pytest.mark.parametrize("proof", [DOWN, error(403, "PermissionException", "Insufficient permission.")])
def test_orders_that_are_refused_count_as_well_while_the_proof_tells_nothing(proof: HttpResponse) -> None:
    made, _ = world()
    made.start()
    made.run(1.0)
    asked = len(proofs(made))
    refuses_orders(made, proof)
    for seq in range(1, 31):
        made.send(seq, px=9_900 + seq * 5)
        made.run(2.0)
    assert "rejected in a row" in made.stage.states.reduced and made.reason(7) == "REDUCING"
    assert len(made.broker.calls("POST")) == 6, "the first one alone does not count"
    assert 1 <= len(proofs(made)) - asked <= RULES.tries


def test_refusals_in_a_row_ask_for_a_proof_that_tells_nothing_less_and_less_often() -> None:
    made, _ = world()
    made.start()
    made.run(1.0)
    times: list[float] = []

    def busy(request: HttpRequest) -> HttpResponse:
        made.stage.address.doubted(made.clock.mono)  # also while a proof is under way
        times.append(made.clock.mono / S)
        return DOWN

    made.broker.on_call = busy
    for _ in range(400):
        made.stage.address.doubted(made.clock.mono)
        made.run(3.0, step_s=0.5)
    gaps = [b - a for a, b in pairwise(times)]
    assert len(times) > RULES.tries and gaps[0] >= RULES.pause_s and gaps == sorted(gaps)


def test_refusals_count_also_while_no_place_is_free_for_the_proof() -> None:
    made, _ = world(None)
    made.stage.start()
    made.run(RULES.wait_s + 1.0)
    assert made.stage.address.doubted(made.clock.mono), "until it has been asked"
    made.clock.advance(round(RULES.wait_s * S) + 1)
    assert not made.stage.address.doubted(made.clock.mono)


def test_a_stop_that_is_refused_for_the_address_says_nothing_of_its_type() -> None:
    made, _ = world()
    made.start()
    made.send(1)
    filled(made, 10)
    refuses_orders(made, REFUSED)
    words = {"px": 0, "qty": 0, "order_type": 0, "side": 0, "validity": 0}
    before = len(made.broker.calls("POST"))
    made.send(2, kind=IntentKind.EXITS, trigger_px=PX - 100, **words)
    made.run(20.0)
    (plan,) = made.stage.keeper.plans.plans.values()
    assert plan.refused > 1 and not plan.plain_stop
    assert len(made.broker.calls("POST")) - before < 9, "later and later"


def test_without_the_proof_refused_orders_count_as_any_other() -> None:
    made, _ = world(config=OrdersConfig(limits()))
    made.start()
    refuses_orders(made, NOT_THERE)
    for seq in range(1, 8):
        made.send(seq, px=9_990 + seq * 5)
        made.run(0.5)
    assert "rejected in a row" in made.stage.states.reduced and not proofs(made)


def test_exits_that_are_refused_for_the_address_do_not_ask_again_and_again() -> None:
    made, _ = world()
    made.start()
    made.send(1)
    filled(made, 10)
    refuses_orders(made, REFUSED)
    asked = len(proofs(made))
    for seq in range(2, 22):
        made.send(seq, side=Side.SELL, px=9_990 + seq * 5)
        made.run(0.3)
    assert made.stage.states.address and not made.stage.states.reduced
    assert 1 <= len(proofs(made)) - asked <= 2


def test_a_latch_of_a_person_or_a_loss_outlives_the_refusal() -> None:
    made, _ = world(REFUSED)
    made.start()
    made.stage.states.reduce("a loss")
    answers(made, NOT_THERE)
    made.run(2 * RULES.pause_s)
    assert not made.stage.states.address and made.stage.states.reducing == "a loss"
    made.send(1)
    assert made.reason(1) == "REDUCING"


@pytest.mark.parametrize(
    "answer", [DOWN, TransportError("reset", sent=True), TransportError("no way", sent=False)]
)
def test_what_proves_nothing_holds_nothing_up_and_is_asked_a_few_times(answer: Any) -> None:
    made, _ = world(answer)
    made.start()
    assert [text for text in made.alerts if text.startswith("ADDRESS_UNPROVEN")]
    made.send(1)
    assert made.status(1) in WORKING
    made.run(RULES.pause_s * 2**RULES.tries, step_s=0.5)
    assert len(proofs(made)) == RULES.tries and made.codes().count("ADDRESS_UNPROVEN") == 1


def test_an_answer_that_does_not_come_holds_the_start_up_for_a_bounded_time() -> None:
    made, _ = world(None)
    made.stage.start()
    until(made, lambda: proofs(made))
    began_ns = made.clock.mono
    until(made, lambda: made.stage.active)
    assert abs((made.clock.mono - began_ns) / S - RULES.wait_s) < 0.2
    assert "ADDRESS_UNPROVEN" in made.codes()


def test_it_is_asked_at_the_time_of_the_day_in_the_rules() -> None:
    made, _ = world()
    midnight_ns = ist_midnight_ns(ist_date(REAL0))
    made.clock.real = midnight_ns + (RULES.at_s - 20) * S
    made.start()
    assert len(proofs(made)) == 1
    made.run(15.0)
    assert len(proofs(made)) == 1
    made.run(5.0)
    assert len(proofs(made)) == 2
    made.run(120.0, step_s=0.5)
    assert len(proofs(made)) == 2
    calls = [r.data() for r in made.journal.records if r.kind is Kind.CALL]
    assert calls[-1]["proof"] == "by the time of the day"


def test_a_process_that_starts_again_goes_on_with_the_refusal_and_asks_at_once_without_waiting() -> None:
    first, _ = world(REFUSED)
    first.start()
    rows: list[Left] = []
    again = World(
        config=CONFIG, history=list(first.journal.records),
        more={"on_call": rows.append, "restarted": True},
    )  # fmt: skip
    answers(again, None)
    again.stage.start()
    assert again.stage.states.address
    until(again, lambda: again.stage.active, 3.0)
    again.send(1)
    assert again.reason(1) == "REDUCING"
    until(again, lambda: proofs(again))
    recovered = [row for row in rows if row.call == "RECOVERED"]
    assert [row.name for row in recovered] == [
        KITE.no_order
    ]  # its evidence was lost: it counts in the windows


def test_it_waits_for_its_place_in_the_windows_behind_orders() -> None:
    made, rows = world()
    made.start()
    made.run(2.0)
    for seq in range(1, 9):
        made.wish(seq, px=9_900 + 5 * seq)
    made.stage.address._ask(made.clock.mono, "a test")
    made.quote()
    made.step()
    assert len(proofs(made)) == 1 and len(made.broker.calls("POST")) == 8
    made.run(2.0)
    assert len(proofs(made)) == 2
    orders = [row.mono_ns for row in rows if row.part != "read"]
    assert all(b - a > 1.25 * S for a, b in zip(orders, orders[8:], strict=False))


def test_without_a_journal_nothing_leaves() -> None:
    made, _ = world()
    made.start()
    made.journal.fail = True
    made.stage.address._ask(made.clock.mono, "a test")
    made.run(1.0)
    assert len(proofs(made)) == 1 and made.stage.outbox.halted


def test_a_dead_token_ends_the_wait_and_a_login_asks_again() -> None:
    made, _ = world(error(403, "TokenException", "Incorrect `api_key` or `access_token`."))
    made.stage.start()
    until(made, lambda: made.stage.states.token_dead)
    made.run(RULES.wait_s + 1)
    assert not made.stage.active and len(proofs(made)) == 1
    answers(made, NOT_THERE)
    made.do("token", access_token="another")
    until(made, lambda: made.stage.active)
    until(made, lambda: len(proofs(made)) == 2)


def test_a_new_token_asks_at_once_while_the_address_is_refused() -> None:
    made, _ = world(REFUSED)
    made.start()
    answers(made, NOT_THERE)
    made.do("token", access_token="another")
    made.run(0.5)
    assert len(proofs(made)) == 2 and not made.stage.states.address


def test_a_token_that_dies_before_anything_was_asked_holds_nothing_up_for_ever() -> None:
    made, _ = world()
    made.stage.start()
    until(made, lambda: made.stage.reader.reconciled)
    made.stage.address._activate = None  # as if no place had been free for the first one
    made.stage.address.asked = 0
    made.stage.states.lose_token("dead", 0, made.clock.mono)
    made.stage._stand_still(made.clock.mono)
    made.do("token", access_token="another")
    until(made, lambda: made.stage.active)
    assert not made.stage.states.token_dead
