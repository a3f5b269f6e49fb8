"""`kite-hft metadata` over the instruments that a universe's rules pick."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_tools import kite_hft
from face_tools import environment, feed_config
from sim_tools import simulator

UNIVERSE = """
instruments: ['NSE:SBIN']
rules:
  - {exchanges: [NFO], kinds: [FUT]}
  - {exchanges: [NSE], kinds: [EQ], market_cap: {from: 5000, to: 100000}}
without: ['NSE:ITC']
"""
CAPS = "exchange,symbol,market_cap_crore\nNSE,INFY,90000\nNSE,ITC,80000\nNSE,ICICIBANK,900000\n"


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_a_universe_by_rules_and_market_caps_in_one_command(broker: str, tmp_path: Path) -> None:
    """The caps that the rules ask for come with the same call, into the same folder."""
    (tmp_path / "mine.yaml").write_text(UNIVERSE)
    (tmp_path / "caps.csv").write_text(CAPS)
    folder = tmp_path / "history"
    with simulator(
        "--broker", broker, "--instruments", "40", "--exchange-time", "2026-11-20T10:00:00"
    ) as sim:
        path = feed_config(tmp_path, sim, broker=broker)
        key = "ws_url" if broker == "kite" else "feed_url"
        path.write_text(path.read_text().replace(f"{key}:", f"access_token: '{sim.access_token}', {key}:", 1))
        words = ["metadata", "--config", str(path), "--universe", str(tmp_path / "mine.yaml"), "--json",
                 "--folder", str(folder), "--since", "2026-11-16"]  # fmt: skip
        env = environment(tmp_path, None)
        without = kite_hft(env, *words)
        done = kite_hft(env, *words, "--caps", str(tmp_path / "caps.csv"))
        again = kite_hft(env, *words)
    assert without.returncode == 1 and f"{folder}/market_cap.csv: no table of market" in without.stderr
    assert "kite-hft metadata --caps SOURCE" in without.stderr and "Traceback" not in without.stderr
    told = json.loads(done.stdout)
    assert done.returncode == told["code"] == 0 and told["market_caps"]["companies"] == 3, done.stderr
    names = set(json.loads((folder / "metadata.json").read_text())["instruments"])
    assert {"NSE:SBIN", "NSE:INFY"} <= names and not {"NSE:ITC", "NSE:ICICIBANK"} & names
    rest = names - {"NSE:SBIN", "NSE:INFY"}
    assert rest and all(name.startswith("NFO:") for name in rest)
    assert json.loads(again.stdout)["known"] + json.loads(again.stdout)["fetched"] == len(names)
