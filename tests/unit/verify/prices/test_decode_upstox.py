"""The Upstox decode campaign passes, and notices each kind of fault in the decoder that it exists for."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.verify.prices import decode, decode_upstox, upstox_bench, upstox_cases

pytest.importorskip("upstox_client")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = decode.main(["--broker", "upstox", *arguments])
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    return code, json.loads(line), captured.err


def test_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    """The short version of the run: against protobuf's parse of the SDK's schema."""
    code, result, told = run(capsys, "--messages", "6e3", "--seed", "11", "--workers", "2")
    assert code == 0 and result["pass"], result["misses"]
    assert result["cell_required"] == 3 <= result["cell_least"] and result["cells"] > 600
    assert result["counts"]["carried"] > 30 and result["counts"]["malformed"] > 100
    assert "first_level" in told and "key twice" in told


def test_fuzz(capsys: pytest.CaptureFixture[str]) -> None:
    """10^5 spoiled inputs: no crash, and protobuf's verdict on each."""
    code, result, _ = run(capsys, "--fuzz", "1e5", "--workers", "2")
    assert code == 0 and result["fuzz"] == 100_000
    assert 10_000 < result["counts"]["refused"] < 95_000 and result["counts"]["ticks"] > 10_000


class Faulty:
    """A decoder with one fault, over the real one."""

    def __init__(self, fault: str, *arguments: Any) -> None:
        self.real = UpstoxDecoder(*arguments)
        self.fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @property
    def malformed(self) -> dict[str, int]:
        return {"message": 0} if self.fault == "malformed" else self.real.malformed

    def counts(self) -> dict[str, int]:
        return self.real.counts() | ({"off_grid": 0} if self.fault == "count" else {})

    def decode_both(self, frame: bytes, recv_ns: int, capacity: int = 0) -> tuple[np.ndarray, np.ndarray]:
        if self.fault == "reset":
            self.real.reset()
        ticks, aux = self.real.decode_both(frame, recv_ns, capacity)
        if self.fault in (ticks.dtype.names or ()):
            ticks[self.fault] += 1
        if self.fault == "aux":
            aux["values"] *= 2
        return ticks[1:] if self.fault == "lost" else ticks, aux


FIELDS = "slot kind flags recv_ns connection seq last_px volume oi exch_ns close_px ask_px_deep bid_orders"


@pytest.mark.parametrize("fault", [*FIELDS.split(), "lost", "count", "aux", "malformed", "reset"])
def test_a_fault_is_found(
    fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(upstox_bench, "UpstoxDecoder", partial(Faulty, fault))
    code, result, told = run(capsys, "--messages", "700", "--workers", "1", "--seed", "5")
    assert code == 1 and not result["pass"] and "--seed 5 --block 0" in told


def test_thin_coverage_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(decode_upstox, "CELL_MIN_PER_MILLION", 100_000)
    code, result, told = run(capsys, "--messages", "1000", "--workers", "1")
    assert code == 1 and not result["misses"] and "Replay" in told


def test_replay_of_one_block(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_upstox, "BLOCK", 300)
    code, result, _ = run(capsys, "--messages", "900", "--seed", "5", "--block", "2")
    assert code == 0 and result["cell_required"] == 0 and result["counts"]["decoded"] > 50


def test_without_the_official_sdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'upstox_client'")

    monkeypatch.setattr(decode_upstox, "sdk_parser", missing)
    assert decode.main(["--broker", "upstox", "--messages", "10"]) == 2
    assert "oracle" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--messages", "0"], ["--workers", "0"], ["--fuzz", "-1"]])
def test_bad_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        decode.main(["--broker", "upstox", *arguments])
    assert caught.value.code == 2


def test_atheris_is_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert decode.main(["--broker", "upstox", "--fuzz", "10", "--engine", "atheris"]) == 2
    assert "pip install atheris" in capsys.readouterr().err


def test_cells_are_all_extremes_of_all_fields() -> None:
    table = upstox_cases.cells()
    assert len(table) == len({(cell.branch, cell.path, cell.label) for cell in table}) > 600
    assert {cell.branch for cell in table} == {*upstox_cases.BRANCHES, "feed"}
