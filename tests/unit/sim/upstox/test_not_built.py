"""Every call of the official client has an answer here: the simulator's own, or that it has none."""

from __future__ import annotations

import re
from pathlib import Path

import upstox_client
from upstox_bench import Bench

from kite_hft.sim.upstox.not_built import CALLS

SOURCES = Path(upstox_client.__file__).parent / "api"
CALL = re.compile(r"call_api\(\s*'([^']+)', '([A-Z]+)'")


def test_no_call_of_the_official_client_is_unknown() -> None:
    calls = {(m, p) for file in SOURCES.glob("*.py") for p, m in CALL.findall(file.read_text())}
    assert len(calls) > 95
    missing, lacking = [], set()
    for method, path in sorted(calls):
        filled = re.sub(r"\{[^}]*\}", "x", path)
        status, answer = Bench().ask(method, filled)
        code = answer["errors"][0]["errorCode"] if answer and answer["status"] == "error" else ""
        if status == 501:
            lacking.add((method, path))
            assert "the simulator has not" in answer["errors"][0]["message"]
        elif (status, code) in ((404, "UDAPI100060"), (405, "UDAPI10000")):
            missing.append((method, path))
    assert not missing, missing
    assert not [call for call in lacking if "/order/" in call[1] and "ipos" not in call[1]]
    assert 25 <= len(lacking) <= len(CALLS) + 10


def test_it_needs_a_token_like_any_other() -> None:
    assert Bench().code("GET", "/v2/trade/profit-loss/data", token="") == (401, "UDAPI100050")
    assert Bench().code("GET", "/v2/trade/profit-loss/data") == (501, "UDAPI100060")
    assert Bench().code("GET", "/v2/trade/nothing") == (404, "UDAPI100060")
