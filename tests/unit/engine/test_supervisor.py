"""What becomes of alerts and of a halt when ORDERS is started again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.files import read_alerts
from kite_hft.engine.alerts.raisers import AGAIN_NS
from kite_hft.engine.orders.latch import Latched
from kite_hft.engine.processes.halting import HEARD_NS, OwedHalt, OwedReturns
from kite_hft.engine.supervisor import Watch
from kite_hft.settings import Settings
from kite_hft.trading.alerts import alert

NOON = 1_765_780_200_000_000_000
ACTIVE = {"state_halted": 0, "state_killed": 0}


class Loop:
    """The supervisor's loop over processes that are started again and told things, nothing more."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(1_000_000_000, NOON)
        self.folder, self.said = folder, list[str]()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.down = ""  # why a process stays down
        self.last: list[dict[str, Any]] = []  # alerts that nobody has heard yet
        self.takes = 1  # how many processes take what they are told
        self.alerting = Alerting(folder, (), self.clock, self.said.append)
        family = SimpleNamespace(
            restart=lambda member, why, now_ns: self.down, history=[SimpleNamespace(exit_code=-9)],
            tell=lambda stage, message: self.told.append((stage, message)) or self.takes,
            listen=self.heard,
        )  # fmt: skip
        settings = Settings.model_validate({})
        watch = self.watch = object.__new__(Watch)
        watch.run = SimpleNamespace(settings=settings, view=SimpleNamespace(say=self.said.append))  # type: ignore[assignment]
        watch.family, watch.alerting = family, self.alerting  # type: ignore[assignment]
        watch.halts = SimpleNamespace(halted=False)  # type: ignore[assignment]
        watch.owed = OwedHalt(lambda message: family.tell("orders", message))
        watch.returns = OwedReturns(watch.owed.tell)

    def heard(self) -> list[dict[str, Any]]:
        alerts, self.last = self.last, []
        return alerts

    def back(self, member: Any) -> None:
        self.watch._tell_orders(member, self.clock.mono_ns())

    def returns(self) -> int:
        return self.told.count(("orders", {"do": "worker_restarted", "worker": 0}))

    def found(self, code: str, key: str = "", process: str = "orders") -> None:
        self.alerting.take({**alert(code, "found", key).fields(), "process": process})

    def replace(self, name: str = "orders") -> Any:
        plan = SimpleNamespace(name=name, stages=(name,), worker=0)
        member = SimpleNamespace(plan=plan)
        assert self.watch._replace(member, "died", self.clock.mono_ns()) is None  # type: ignore[arg-type]
        return member

    def states(self) -> dict[str, str]:
        return {row["code"]: row["state"] for row in read_alerts(self.folder)}

    def events(self, code: str) -> list[str]:
        lines = (self.folder / "alerts.jsonl").read_text().splitlines()
        return [line.split('"event": "')[1].split('"')[0] for line in lines if f'"code": "{code}"' in line]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_what_the_new_orders_raises_again_is_news_and_what_it_does_not_is_over(loop: Loop) -> None:
    for code in ("EXIT_REFUSED", "STALE_POSITION"):
        loop.found(code, "NSE:X")
    loop.found("FEED_DEAD", "feed-0", "")
    assert loop.alerting.acknowledge() == 3
    loop.found("EXIT_REFUSED", "NSE:X")
    assert loop.events("EXIT_REFUSED") == ["raised", "acknowledged"]
    orders = loop.replace()
    assert loop.events("EXIT_REFUSED") == ["raised", "acknowledged"]  # nobody says that it is over
    loop.back(orders)
    loop.clock.advance(AGAIN_NS - 1)
    loop.found("EXIT_REFUSED", "NSE:X")
    loop.alerting.poll()
    assert loop.events("EXIT_REFUSED") == ["raised", "acknowledged", "raised"]
    assert loop.states()["STALE_POSITION"] == "acknowledged"
    loop.clock.advance(1)
    loop.alerting.poll()
    states = loop.states()
    assert (states["STALE_POSITION"], states["EXIT_REFUSED"]) == ("over", "standing")
    assert states["FEED_DEAD"] == "acknowledged"  # the supervisor's own
    loop.found("EXIT_REFUSED", "NSE:X")
    assert loop.events("EXIT_REFUSED").count("raised") == 2


def test_what_was_over_with_the_old_orders_is_told_when_it_happens_again_later(loop: Loop) -> None:
    loop.found("EXIT_REFUSED", "NSE:X")
    loop.alerting.acknowledge()
    loop.back(loop.replace())
    loop.clock.advance(AGAIN_NS)
    loop.alerting.poll()
    loop.found("EXIT_REFUSED", "NSE:X")
    assert loop.events("EXIT_REFUSED") == ["raised", "acknowledged", "cleared", "raised"]


def test_what_only_a_person_or_the_broker_ends_stands_on_and_is_handed_to_the_new_orders(loop: Loop) -> None:
    for code, key in (("HALTED", ""), ("AMBIGUOUS_ORDER", "7"), ("AMBIGUOUS_ORDER", "8 unanswered")):
        loop.found(code, key)
    loop.back(loop.replace())
    handed = [message for stage, message in loop.told if stage == "orders" and message["do"] == "alert"]
    assert sorted((m["code"], m["key"]) for m in handed) == [("AMBIGUOUS_ORDER", "7"), ("HALTED", "")]
    assert all(message["standing"] for message in handed)
    loop.clock.advance(AGAIN_NS)
    loop.alerting.poll()
    standing = {(told.code, told.key) for told in loop.alerting.standing()}
    assert standing == {("HALTED", ""), ("AMBIGUOUS_ORDER", "7")}


def test_a_process_that_stays_down_takes_nothing_with_it(loop: Loop) -> None:
    loop.found("FILE_FAILED", "ticks.bin", "recorder")
    loop.down = "recorder died more than 5 times in 600 s"
    loop.replace("recorder")
    loop.clock.advance(10 * AGAIN_NS)
    loop.alerting.poll()
    assert loop.states()["FILE_FAILED"] == "standing"


def test_without_its_recorder_an_engine_trades_on_and_says_so(loop: Loop) -> None:
    loop.down = "recorder hung more than 5 times in 600 s"
    loop.replace("recorder")
    assert loop.states()["CRASH_LOOP"] == "standing" and not loop.told


def test_the_halt_of_a_process_that_stays_down_is_told_again_until_orders_has_it(loop: Loop) -> None:
    loop.down = "compute died more than 5 times in 600 s"
    loop.replace("compute")
    halt = ("orders", {"do": "halt", "reason": loop.down})
    assert loop.told == [halt]
    loop.watch.owed.look(ACTIVE)
    assert loop.told == [halt]  # it has been handed on, and may not have been read yet
    loop.down = ""
    loop.back(loop.replace())  # what was in the pipe of the one before is lost
    assert [message for message in loop.told if message == halt] == [halt, halt]
    loop.watch.owed.look(ACTIVE | {"state_halted": 1})
    loop.back(loop.replace())
    assert loop.told.count(halt) == 2


def test_what_a_process_raised_last_was_its_own(loop: Loop) -> None:
    """It is heard before what the process has raised is over with it."""
    loop.last = [{**alert("EXIT_REFUSED", "found", "NSE:X").fields(), "process": "orders"}]
    orders = loop.replace()
    assert loop.states()["EXIT_REFUSED"] == "standing"
    loop.back(orders)
    loop.clock.advance(AGAIN_NS)
    loop.alerting.poll()
    assert loop.states()["EXIT_REFUSED"] == "over"  # the new one has not found it again


def test_the_return_of_a_worker_is_told_to_the_orders_that_comes_after(loop: Loop) -> None:
    loop.back(loop.replace("compute"))
    assert loop.returns() == 1
    beat_ns = loop.clock.mono_ns() + HEARD_NS - 1  # ORDERS hangs: whether it has read that nobody knows
    loop.clock.advance(5 * HEARD_NS)
    for beat in (beat_ns, 0):
        loop.watch.returns.look(beat, loop.clock.mono_ns())
    assert loop.returns() == 1
    loop.back(loop.replace())
    assert loop.returns() == 2
    loop.watch.returns.look(loop.clock.mono_ns() + HEARD_NS, loop.clock.mono_ns() + HEARD_NS)
    loop.back(loop.replace())
    assert loop.returns() == 2, "the one before has had it"


def test_the_return_of_a_worker_that_no_orders_took_is_told_again(loop: Loop) -> None:
    loop.takes = 0
    loop.back(loop.replace("compute"))
    loop.takes = 1
    for returns in (2, 2):
        loop.watch.returns.look(0, loop.clock.mono_ns())
        assert loop.returns() == returns


def test_a_halt_that_the_pipe_did_not_take_is_told_again() -> None:
    takes: list[int] = [0, 0, 1]
    told: list[dict[str, Any]] = []
    owed = OwedHalt(lambda message: told.append(message) or takes.pop(0))  # type: ignore[func-returns-value]
    owed.halt("it died")
    for _ in range(5):
        owed.look(ACTIVE)
    assert len(told) == 3


def test_a_kill_by_signal_that_no_file_takes_is_handed_to_orders_until_it_has_it(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.watch.run.kills = [Latched("SIGUSR1 to the supervisor", "signal SIGUSR1", 7)]
    loop.takes = 0
    loop.watch._hand_on_kills()
    assert len(loop.watch.run.kills) == 1, "ORDERS is being started anew"
    loop.takes = 1
    loop.watch._hand_on_kills()
    loop.watch._hand_on_kills()
    message = {"do": "kill", "reason": "SIGUSR1 to the supervisor", "flatten": False}
    assert loop.told == [("orders", message)] * 2 and loop.watch.run.kills == []
