"""Wrong addresses in the configuration: what a person reads at the start names address, key and fix."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_tools import demo_config, own

from kite_hft.engine.plan.session import SIMULATED_MASTER

LOST = "no-such-host.invalid"


@contextmanager
def simulator(broker: str) -> Iterator[dict[str, str]]:
    """Its ready line, as words."""
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", broker, "--instruments", "5", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run(folder: Path, text: str, seconds: float) -> tuple[int, str]:
    config = folder / "wrong.yaml"
    config.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", config, "--duration", str(seconds)],
        env={**os.environ, "XDG_STATE_HOME": str(folder)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def paper(folder: Path, broker: str, **keys: str) -> str:
    """mode paper on a broker whose keys are given."""
    base = demo_config(folder, own("LOST")).read_text()
    base = base.replace("mode: sim", "mode: paper", 1).replace("broker: kite", f"broker: {broker}", 1)
    if broker == "upstox":
        base = base.replace("kite_2026-04-01.yaml", "upstox_2026-04-01.yaml")
        base = base.replace("charges_zerodha_2026-04-01.yaml", "charges_upstox_2026-04-01.yaml")
    lines = "".join(f"  {key}: {value!r}\n" for key, value in keys.items())
    return f"{base}{broker}:\n{lines}"


def test_a_blank_address_is_a_wrong_configuration(tmp_path: Path) -> None:
    for broker, key in (("kite", "api_url"), ("upstox", "instruments_url")):
        code, told = run(tmp_path, paper(tmp_path, broker, **{key: ""}), 1)
        assert code == 2 and f"{broker}.{key}: expected https://host" in told, told


@pytest.mark.parametrize(("broker", "key"), [("kite", "api_url"), ("upstox", "instruments_url")])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"https://{LOST}", "no host has this name"),
        ("http://127.0.0.1:9", "nothing listens there"),
    ],
)
def test_a_list_that_cannot_be_fetched(broker: str, key: str, url: str, said: str, tmp_path: Path) -> None:
    words = {"api_key": "k", "access_token": "t", key: url}
    code, told = run(tmp_path, paper(tmp_path, broker, **words), 1)
    assert code == 3 and f"cannot reach {url} ({broker}.{key}): {said}" in told, told
    assert "Traceback" not in told


def test_a_feed_that_cannot_be_reached_is_tried_again_and_said(tmp_path: Path) -> None:
    with simulator("kite") as at:
        keys = {"api_key": at["api_key"], "access_token": at["access_token"], "ws_url": at["ws"]}
        code, told = run(tmp_path, paper(tmp_path, "kite", **keys, api_url=at["api"] + "/wrong"), 1)
        assert code == 3 and "(kite.api_url) refuses it with HTTP 404; there is no such list" in told, told
        keys |= {"api_url": at["api"], "ws_url": f"wss://{LOST}"}
        code, told = run(tmp_path, paper(tmp_path, "kite", **keys), 1)
        assert f"feed-0: cannot reach wss://{LOST} (kite.ws_url): no host has this name" in told, told


def test_a_wrong_path_of_upstoxs_feed_is_said(tmp_path: Path) -> None:
    with simulator("upstox") as at:
        keys = {
            "access_token": at["access_token"],
            "instruments_url": at["api"] + SIMULATED_MASTER,
            "feed_url": at["api"] + "/wrong",
        }
        _code, told = run(tmp_path, paper(tmp_path, "upstox", **keys), 1)
    assert f"{at['api']} (upstox.feed_url) refused the connection with HTTP 404" in told, told
