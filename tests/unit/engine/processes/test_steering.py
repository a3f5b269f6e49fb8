"""What may be asked of a running engine about its brokers: tokens and modes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.engine.plan.plan import make_plan
from kite_hft.engine.plan.session import Access, Session
from kite_hft.engine.processes.control import ControlError
from kite_hft.engine.processes.family import ENDED
from kite_hft.engine.processes.steering import Steering
from kite_hft.settings import Settings
from kite_hft.sim.market.universe import default_instruments

INSTRUMENTS, _ = default_instruments(4, 1)
NOW_NS = 1_795_150_800 * 10**9
TOKENS = [int(token) for token in INSTRUMENTS.tokens()]


class Bench:
    """A steering over a plan of separate processes; what they are told stands in `told`."""

    def __init__(self, **sections: Any) -> None:
        rules = Path("config/rules") / f"{sections.get('broker', 'kite')}_2026-04-01.yaml"
        common = {"performance": {"packing": "separate"}, "trading": {"rules": str(rules)}}
        settings = Settings.model_validate({**common, **sections})
        accesses = {
            name: Access(name, f"{name}-feed", f"{name}-api", "k", "old") for name in ("kite", "upstox")
        }
        data = tuple(accesses[name] for name in settings.data_brokers)
        second = SimpleNamespace(per_connection=3000, connections=2, instruments=None)
        plan = make_plan(
            settings,
            4,
            [],
            2,
            3000,
            3,
            second=second if len(data) > 1 else None,  # type: ignore[arg-type]
        )
        self.told: list[tuple[str, dict[str, Any]]] = []

        def member(process: Any) -> Any:
            def tell(message: dict[str, Any]) -> bool:
                self.told.append((process.name, message))
                return True

            return SimpleNamespace(plan=process, state="running", child=SimpleNamespace(tell=tell))

        members = {process.name: member(process) for process in plan.processes}
        family = SimpleNamespace(members=members, tell=self._tell, revive=lambda now_ns, stage: [])
        self.run = SimpleNamespace(
            settings=settings, session=Session(settings.mode, accesses[settings.broker], data), plan=plan,
            instruments=INSTRUMENTS, clock=SimpleNamespace(mono_ns=lambda: 1, real_ns=lambda: NOW_NS),
        )  # fmt: skip
        self.alerting = SimpleNamespace(secrets=())
        self.steering = Steering(self.run, family, self.alerting, None)  # type: ignore[arg-type]

    def _tell(self, stage: str, message: dict[str, Any]) -> int:
        self.told.append((stage, message))
        return 1

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.steering.handle(request)


def test_a_token_of_the_one_broker_goes_to_orders_and_feeds() -> None:
    bench = Bench(broker="upstox")
    bench.ask(do="token", access_token="new")
    told = dict(bench.told)
    assert told["orders"]["access_token"] == "new"
    assert told["updates"]["feed"] == told["feed"]["feed"] == bench.run.session.orders.feed_config()
    assert told["feed"]["feed"]["access_token"] == "new" and "new" in bench.alerting.secrets


def until(end_s: int) -> str:
    """A JSON web token that ends then."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": end_s}).encode()).decode().rstrip("=")
    return f"head.{claims}.signature"


def test_a_token_that_has_ended_reaches_nobody() -> None:
    bench = Bench(broker="upstox")
    with pytest.raises(ControlError, match=r"that token ended at 2026-11-20T1\d:.*log in again"):
        bench.ask(do="token", access_token=until(NOW_NS // 10**9))
    assert not bench.told and bench.run.session.orders.access_token == "old"
    bench.ask(do="token", access_token=until(NOW_NS // 10**9 + 1))
    assert [stage for stage, _ in bench.told] == ["orders", "updates", "feed"]


def test_a_change_is_told_to_every_connection_or_to_none() -> None:
    bench = Bench(data_broker="both")
    second = bench.steering.family.members["feed-1"]
    second.state = ENDED
    with pytest.raises(ControlError, match="nothing was changed: feed-1 is not running"):
        bench.ask(do="subscribe", tokens=TOKENS[:1], mode="ltp")
    assert not bench.told
    second.state, second.child.tell = "running", lambda message: False
    with pytest.raises(ControlError, match="feed-1 is not running; told were feed-0"):
        bench.ask(do="unsubscribe", tokens=TOKENS[:1])
    assert bench.steering._modes is None, "it may stream yet"
    with pytest.raises(ControlError, match="feed-1 is not running; told were feed-0"):
        bench.ask(do="subscribe", tokens=TOKENS[:1], mode="ltp")
    assert bench.steering._modes is not None
    assert bench.steering._modes[0] == "ltpc", "nor may it be too much"


def test_another_login_leaves_a_run_alone() -> None:
    bench = Bench()
    for other in ({"api_key": "other"}, {"api_key": "k", "api_url": "elsewhere"}):
        assert not bench.ask(do="same_login", broker="kite", **other)["same"]
        with pytest.raises(ControlError, match="another login of kite: it keeps its token"):
            bench.ask(do="token", access_token="new", broker="kite", **other)
    assert not bench.told and bench.run.session.orders.access_token == "old"
    ours = {"broker": "kite", "api_key": "k", "api_url": "kite-api/"}
    assert bench.ask(do="same_login", **ours)["same"]
    assert not bench.ask(do="same_login", **ours | {"broker": "upstox"})["same"]
    bench.ask(do="token", access_token="new", **ours)
    assert bench.run.session.orders.access_token == "new"


def test_of_two_brokers_it_must_be_said_whose_token_it_is() -> None:
    bench = Bench(broker="kite", data_broker="upstox")
    with pytest.raises(ControlError, match="kite or upstox"):
        bench.ask(do="token", access_token="new")
    with pytest.raises(ControlError, match="no broker 'other'"):
        bench.ask(do="token", access_token="new", broker="other")
    assert not bench.told
    bench.ask(do="token", access_token="new", broker="upstox")
    assert [stage for stage, _ in bench.told] == ["feed"]  # ORDERS and its updates are at the other one
    bench.told.clear()
    bench.ask(do="token", access_token="newer", broker="kite")
    assert [stage for stage, _ in bench.told] == ["orders", "updates"]
    assert [access.access_token for access in (bench.run.session.orders, *bench.run.session.data)] == [
        "newer", "new"
    ]  # fmt: skip


def test_in_paper_mode_the_order_process_gets_no_token() -> None:
    bench = Bench(broker="upstox", mode="paper")
    bench.ask(do="token", access_token="new")
    assert [stage for stage, _ in bench.told] == ["feed"]


def test_a_sandbox_keeps_its_own_token() -> None:
    bench = Bench(broker="upstox", upstox={"sandbox": True})
    bench.run.session = replace(bench.run.session, orders=replace(bench.run.session.orders, sandbox=True))
    bench.ask(do="token", access_token="new")
    assert [stage for stage, _ in bench.told] == ["feed"]
    assert bench.run.session.orders.access_token == "old"


def test_a_mode_is_said_in_each_brokers_word() -> None:
    bench = Bench(data_broker="both")
    bench.ask(do="subscribe", tokens=TOKENS[:1], mode="ltp")
    assert [(name, message["mode"]) for name, message in bench.told] == [
        ("feed-0", "ltp"),
        ("feed-1", "ltpc"),
    ]
    with pytest.raises(ControlError, match="upstox has no mode 'quote'"):
        bench.ask(do="subscribe", tokens=TOKENS[:1], mode="quote")
    with pytest.raises(ControlError, match="kite has no mode 'everything'"):
        Bench().ask(do="subscribe", tokens=TOKENS[:1], mode="everything")


def narrow_rules(folder: Path) -> Path:
    """Upstox's rules with room for three keys in mode full, or two beside two in ltpc."""
    text = Path("config/rules/upstox_2026-04-01.yaml").read_text()
    for key, was, least in (("full", 2000, 3), ("full_mixed", 1500, 2), ("ltpc_mixed", 2000, 2)):
        line = f"  keys_{key}: {was}\n"
        assert line in text
        text = text.replace(line, f"  keys_{key}: {least}\n")
    path = folder / "rules.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("data", ["upstox", "both"])
def test_what_upstox_would_answer_with_silence_is_refused_before_anything_is_sent(
    tmp_path: Path, data: str
) -> None:
    rules = str(narrow_rules(tmp_path))
    modes = {row.key: "ltpc" if data == "upstox" else "ltp" for row in INSTRUMENTS}
    feed = {"mode": "full", "modes": modes}
    bench = Bench(broker="upstox", data_broker=data, trading={"rules": rules}, datafeed=feed)
    bench.ask(do="unsubscribe", tokens=TOKENS)
    bench.ask(do="subscribe", tokens=TOKENS[:3], mode="full")
    bench.told.clear()
    with pytest.raises(
        ControlError, match=r"nothing was changed: 4 keys in mode full; Upstox streams 3 to a"
    ):
        bench.ask(do="subscribe", tokens=TOKENS[3:], mode="full")
    with pytest.raises(ControlError, match="3 keys in mode full beside ltpc; Upstox streams 2 to a user"):
        bench.ask(do="subscribe", tokens=TOKENS[3:], mode="ltp")
    with pytest.raises(ControlError, match=r"set upstox\.plus, or take mode full"):
        Bench(broker="upstox").ask(do="subscribe", tokens=TOKENS, mode="full_d30")
    assert bench.told == []
    bench.ask(do="unsubscribe", tokens=TOKENS[:1])
    bench.ask(do="subscribe", tokens=TOKENS[3:], mode="ltp")  # there is room again
    assert bench.told[-1][1]["tokens"] == TOKENS[3:]


def test_kite_alone_has_no_such_limits() -> None:
    bench = Bench()
    bench.ask(do="subscribe", tokens=TOKENS, mode="full")
    assert bench.told


def test_everything_that_opens_can_be_cancelled_with_a_reason() -> None:
    bench = Bench()
    assert bench.ask(do="cancel_all", ask="7f", reason="too many", by="me", more="x") == {"ok": True}
    assert bench.told == [("orders", {"do": "cancel_all", "ask": "7f", "reason": "too many", "by": "me"})]
    for words in ({"reason": "too many"}, {"ask": "7f"}):
        with pytest.raises(ControlError, match="needs ask and reason"):
            bench.ask(do="cancel_all", **words)
    assert len(bench.told) == 1
    bench.steering.family.tell = lambda stage, message: 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ControlError, match="order process is not running"):
        bench.ask(do="cancel_all", ask="7f", reason="too many")


def test_a_kill_that_its_sender_could_not_write_is_handed_to_the_order_process() -> None:
    bench = Bench()
    assert bench.steering.handle({"do": "kill", "reason": "enough", "flatten": True}) == {"ok": True}
    assert bench.told == [("orders", {"do": "kill", "reason": "enough", "flatten": True})]
    bench.steering.handle({"do": "kill"})
    assert bench.told[-1][1] == {"do": "kill", "reason": "asked by the command line", "flatten": False}
    bench.steering.family.tell = lambda stage, message: 0  # type: ignore[method-assign]
    with pytest.raises(ControlError, match="the order process is not running"):
        bench.steering.handle({"do": "kill", "reason": "enough"})
