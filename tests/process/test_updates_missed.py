"""What fills while the connection for order updates is down is known as soon as it stands again: by the order
book, and not by the next look that is due anyhow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_tools import own
from sim_tools import Running, simulator

from kite_hft.verify.brokers.running import addressed, facts_of

PROBE = "kite_hft.verify.engine.supervise_probe:Probe"
SIM = ("--rate", "5", "--seed", "7", "--exchange-time", "2026-11-20T10:00:00", "--latency-us", "2000")
SELDOM_S = 600.0
"""So seldom are the books looked at by themselves here."""
KNOWN_S = 5.0
"""Of it the pause before the connection is made again takes 0.6 s; the rest is for a busy machine."""


def configured(folder: Path, broker: str, running: Running) -> Path:
    """An engine that sends no order and hardly ever looks at the books."""
    told = {key: getattr(running, key) for key in ("ws", "api", "api_key", "access_token")}
    books = {"poll_s": SELDOM_S, "positions_s": SELDOM_S, "watchdog": False}
    made = {
        "mode": "sim",
        "account": own("MISS"),
        **addressed(broker, told),
        "strategies": [{"name": PROBE, "form": "A", "params": {"every": 10**9}}],
        "trading": {"date": "2026-11-20", **books, **facts_of(broker)},
    }
    path = folder / "engine.json"
    path.write_text(json.dumps(made))
    return path


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_what_filled_meanwhile_is_known_at_once(broker: str, tmp_path: Path) -> None:
    with simulator("--broker", broker, "--instruments", "6", *SIM) as running:
        words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config"]
        with (tmp_path / "out").open("w") as out:
            process = subprocess.Popen(
                [*words, str(configured(tmp_path, broker, running))], stdout=out, stderr=out,
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
            )  # fmt: skip

        def until(what: Callable[[str], bool], seconds: float) -> float:
            """Until the engine has said it; how long that took."""
            began = time.monotonic()
            while not what(said := (tmp_path / "out").read_text()):
                assert process.poll() is None and time.monotonic() - began < seconds, said
                time.sleep(0.05)
            return time.monotonic() - began

        try:
            until(lambda said: "feed-0: connected" in said and "orders: recovered" in said, 60)
            time.sleep(3)  # the books that a start reads are read
            order = {"kind": "rms_order", "instrument": "NSE:INFY", "side": "BUY", "quantity": 1}
            running.post("/_sim/inject", [{"kind": "drop"}, order])
            took_s = until(lambda said: "EXTERNAL_ORDER" in said, 60)
            time.sleep(2)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        (filled,) = [row for row in running.faults() if row["kind"] == "rms_order"]
    said = (tmp_path / "out").read_text()
    assert code == 0 and filled["count"] == 1 and "Traceback" not in said, said
    assert took_s < KNOWN_S, (took_s, said)
    assert said.count("no order updates were heard for") == 1, said
    assert "ALERT CRITICAL FEED_DEAD" not in said
