"""The account's kill switch."""

from __future__ import annotations

import pytest
from upstox_rows import answer, model, problem, same_call, sdk

from kite_hft.brokers.upstox import kill_switch
from kite_hft.brokers.upstox.kill_switch import Change, Segment
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import HttpResponse

ROWS = [
    {"segment": "NSE_EQ", "segment_status": "ACTIVE", "kill_switch_enabled": False},
    {"segment": "NSE_FO", "segment_status": "INACTIVE", "kill_switch_enabled": True},
]


def test_as_the_sdk() -> None:
    wanted = [
        model("KillSwitchSegmentUpdateRequest", segment="NSE_FO", action="DISABLE"),
        model("KillSwitchSegmentUpdateRequest", segment="NSE_EQ", action="ENABLE"),
    ]
    read, change = sdk(
        {"api": "UserApi", "call": "get_kill_switch", "reply": ROWS},
        {"api": "UserApi", "call": "update_kill_switch", "args": [wanted], "reply": ROWS},
    )
    same_call(kill_switch.states(), read)
    same_call(kill_switch.change({"NSE_FO": True, "NSE_EQ": False}), change)


def test_states() -> None:
    assert kill_switch.parse_segments(answer(ROWS).body) == {
        "NSE_EQ": Segment(active=True, shut=False), "NSE_FO": Segment(active=False, shut=True),
    }  # fmt: skip
    unsaid = {"segment": "NSE_FO", "segment_status": "ACTIVE", "kill_switch_enabled": "false"}
    for body in (b"", answer([{}]).body, answer([{"segment": "NSE_FO"}]).body, answer([unsaid]).body):
        with pytest.raises(AnswerError):
            kill_switch.parse_segments(body)


def test_what_became_of_a_change() -> None:
    assert kill_switch.parse_change(answer(ROWS)) == Change(True)
    refused = kill_switch.parse_change(problem(400, ("UDAPI1185", "cooling off")))
    assert refused.done is False and "12 hours" in refused.why
    for unclear in (
        HttpResponse(502, b"<html>"),
        problem(400, ("UDAPI1136", "a rule")),
        HttpResponse(200, b""),
    ):
        assert kill_switch.parse_change(unclear).done is None


@pytest.mark.parametrize("actions", [{}, {"NSE": True}])
def test_a_segment_that_is_none(actions: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="one or more of NSE_EQ"):
        kill_switch.change(actions)
