"""From the configuration to the sinks."""

from __future__ import annotations

import pytest

from kite_hft.engine.alerts.sinks.making import CLOSE_MAX_S, close_s
from kite_hft.settings import AlertSection


@pytest.mark.parametrize(
    ("hook_timeout_s", "sink_timeout_s", "expected_s"),
    [(5.0, 3.0, 11.0), (1.0, 5.0, 16.0), (60.0, 3.0, CLOSE_MAX_S), (5.0, 3600.0, CLOSE_MAX_S)],
)
def test_the_last_alerts_have_the_time_of_two_commands_or_all_attempts_but_an_end(
    hook_timeout_s: float, sink_timeout_s: float, expected_s: float
) -> None:
    section = AlertSection(hook_timeout_s=hook_timeout_s, sink_timeout_s=sink_timeout_s)
    assert close_s(section.model_dump(mode="json")) == expected_s
