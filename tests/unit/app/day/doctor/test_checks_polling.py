"""What the doctor says of where prices come from."""

from __future__ import annotations

from day_tools import facts, settings

from kite_hft.app.day.doctor.checks_polling import prices

HTTP = settings(datafeed={"primary_source": "http"})


def test_a_websocket_is_what_is_expected() -> None:
    assert prices(facts()).level == "ok"


def test_prices_by_http_are_told_with_their_age() -> None:
    found = prices(facts(settings=HTTP, polled=("each is looked at again within 3.00 s", "order updates")))
    assert found.level == "warn" and "3.00 s; order updates" in found.text and "docs/polling.md" in found.fix
    assert "some seconds old" in prices(facts(settings=HTTP)).text


def test_too_many_instruments_fail_with_the_plans_words() -> None:
    error = "datafeed.primary_source http: 9,000 instruments are 18 calls"
    found = prices(facts(settings=HTTP, plan_error=error))
    assert found.level == "fail" and found.text == error and "stale_tick_s" in found.fix
