"""A test through every sink, and live mode's demand for one that reaches a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import SystemClock
from kite_hft.configuring.models.safety import NO_SINK
from kite_hft.engine.alerts.sinks.making import make_sinks, secrets_of
from kite_hft.engine.alerts.sinks.trials import NoSink, require_sink, try_sinks
from kite_hft.settings import Settings
from kite_hft.verify.alerts.receivers import receivers


def settings(mode: str = "live", **alerts: Any) -> Settings:
    return Settings.model_validate({"mode": mode, "alerts": alerts})


def test_every_configured_sink_is_made_and_tried(tmp_path: Path) -> None:
    with receivers(tmp_path) as received:
        chosen = settings(hook=["/bin/sh", "-c", f"cat > {tmp_path}/got"], **received.settings())
        received.status["telegram"] = 401
        assert try_sinks(chosen) == {"hook": "", "webhook": "", "telegram": "HTTP 401", "journald": ""}
    assert '"code": "TEST"' in (tmp_path / "got").read_text()
    assert received.of("webhook")[0].fields["event"] == "test"
    assert len(secrets_of(chosen.alerts.model_dump())) == 3


def test_no_sink_is_none(tmp_path: Path) -> None:
    assert make_sinks(settings().alerts.model_dump(), tmp_path, SystemClock()) == []
    assert try_sinks(settings()) == {}


def test_live_needs_a_sink_that_reaches_a_person(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(NoSink, match="none is configured"):
        require_sink(settings(), said.append)
    with receivers(tmp_path) as received:
        with pytest.raises(NoSink, match="journald: works, but pages nobody"):
            require_sink(settings(journald=True, journald_socket=received.journal), said.append)
        with pytest.raises(NoSink, match="hook: /bin/false for TEST: exit code 1"):
            require_sink(settings(hook=["/bin/false"]), said.append)
        require_sink(settings(webhook=received.settings()["webhook"], hook=["/bin/false"]), said.append)
    assert "alert sink webhook: works" in said
    require_sink(settings(waive_sinks=NO_SINK), said.append)
    assert "alerts reach nobody" in said[-1]
    require_sink(settings("paper"), said.append)
