"""The decode campaign passes, and notices each kind of fault in the decoder that it exists for."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft.verify.prices import decode


def test_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    """The short version of the run, both cores: differential against the official client."""
    assert decode.main(["--broker", "kite", "--frames", "2e4", "--seed", "11", "--workers", "2"]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    result = json.loads(line)
    assert result["pass"] and result["frames"] == 20_000 and result["ticks_compared"] > 50_000
    assert result["cell_required"] == 20 <= result["cell_least"]
    assert result["malformed"] == result["malformed_expected"]
    assert "index full" in captured.err and "65535" in captured.err


class Faulty:
    """A decoder with one fault, over the real one."""

    def __init__(self, fault: str, *arguments: Any, portable: bool = False) -> None:
        self.real = KiteDecoder(*arguments, portable=portable)
        where, _, name = fault.rpartition(" ")
        self.fault = name if portable or not where else "none"
        self.path = self.real.path

    @property
    def checksum(self) -> int:
        return self.real.checksum * (3 if self.fault == "checksum" else 1)

    def counts(self) -> dict[str, int]:
        counts = self.real.counts()
        if self.fault == "count":
            counts["malformed_cut_packet"] = 0
        return counts

    def decode_frame(self, frame: bytes, recv_ns: int, capacity: int = 0) -> np.ndarray:
        ticks = self.real.decode_frame(frame, recv_ns, capacity)
        if self.fault in (ticks.dtype.names or ()):
            ticks[self.fault] += 1
        return ticks[1:] if self.fault == "lost" else ticks


FIELDS = "slot kind flags recv_ns connection seq last_px volume oi exch_ns close_px ask_px_deep bid_orders"


@pytest.mark.parametrize("fault", [*FIELDS.split(), "lost", "count", "checksum", "portable oi"])
def test_a_fault_is_found(
    fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decode, "KiteDecoder", partial(Faulty, fault))
    assert decode.main(["--frames", "300", "--workers", "1", "--seed", "5"]) == 1
    captured = capsys.readouterr()
    assert not json.loads(captured.out)["pass"]
    assert "--seed 5 --block 0" in captured.err


def test_replay_of_one_block(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode.main(["--frames", "5000", "--seed", "5", "--block", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["cell_required"] == 0


def test_thin_coverage_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(decode, "CELL_MIN_PER_MILLION", 100_000)
    assert decode.main(["--frames", "1000", "--workers", "1"]) == 1
    assert "Replay" in capsys.readouterr().err


def test_without_the_official_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'kiteconnect'")

    monkeypatch.setattr(decode, "official_client", missing)
    assert decode.main(["--frames", "10"]) == 2
    assert "oracle" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--frames", "0"], ["--workers", "0"], ["--broker", "other"]])
def test_bad_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        decode.main(arguments)
    assert caught.value.code == 2
