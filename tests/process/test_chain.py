"""Simulator and engine as processes: every tick that was sent is computed, and every bar is right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from reference.recorded_day import bars_of, expected_bars, index_messages, nifty_messages, option_messages

from kite_hft.layout import BAR
from kite_hft.trading.instruments import read_csv
from kite_hft.verify.prices import chain

SYMBOLS = {
    "NSE_EQ_INE118H01025": 19585 * 256 + 1,
    "NSE_EQ_INE811K01011": 20302 * 256 + 1,
    "NSE_EQ_INE465A01025": 422 * 256 + 1,
    **{f"NSE_FO_{n}": n * 256 + 2 for n in (51414, 51420, 51460, 51461, 51502, 51510)},
}


def run_chain(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    code = chain.main(list(arguments))
    result = json.loads(capsys.readouterr().out)
    assert code == 0, result["wrong"]
    return result


def engine_bars(folder: Path) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """(token, period) -> (start_ns, open, high, low, close, volume) of every bar that the engine wrote."""
    (run,) = folder.glob("kite_hft/kite-CHAIN_*/20*/*")
    tokens = read_csv(run / "instruments.csv").tokens()
    fields = ["start_ns", "open_px", "high_px", "low_px", "close_px", "volume"]
    found: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for path in sorted(run.glob("bars-*.bin")):
        for bar in np.fromfile(path, BAR):
            row = tuple(int(bar[name]) for name in fields)
            found.setdefault((int(tokens[bar["slot"]]), int(bar["period_s"])), []).append(row)
    return found


def plain(bars: list) -> list[tuple[int, ...]]:
    return [tuple(bar[:6]) for bar in bars]


@pytest.mark.data
def test_the_recorded_day_at_full_speed(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_dir / "upstox_v3_20251215"
    result = run_chain(
        capsys, "--replay", str(folder), "--speed", "0", "--date", "2025-12-15", "--keep", str(tmp_path)
    )
    assert set(result["counts"].values()) == {216_593}
    found = engine_bars(tmp_path)
    expected = expected_bars(folder)
    assert {stem: SYMBOLS[stem] for stem in expected} == SYMBOLS
    for stem, by_period in expected.items():
        for period, bars in by_period.items():
            assert found.pop((SYMBOLS[stem], period)) == plain(bars), (stem, period)
    assert not found


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "day", "reader", "without"),
    [
        ("upstox_option_ticks/SNX_81300_CE_01_08.csv.xz", "2025-08-01", option_messages, ["option"]),
        ("upstox_index_ticks/SENSEX_05_08.csv.xz", "2025-08-05", index_messages, []),
        ("nifty_1s/NIFTY_2022-08-29.csv.xz", "2022-08-29", nifty_messages, []),
    ],
)
def test_single_recordings_at_full_speed(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name, day, reader, without
) -> None:
    path = data_dir / name
    options = ["--replay", str(path), "--date", day, "--keep", str(tmp_path)]
    for _ in without:
        options += ["--without-volume", "BFO:REPLAY840326"]
    result = run_chain(capsys, *options)
    messages = reader(path)
    assert result["counts"]["sent"] == len(messages)
    found = engine_bars(tmp_path)
    expected = bars_of(messages, day)
    assert {period: found[key] for key in found for period in [key[1]]} == {
        period: plain(bars) for period, bars in expected.items() if bars
    }


@pytest.mark.parametrize(
    ("broker", "packing", "connections"),
    [("kite", "fused", 1), ("kite", "separate", 2), ("kite", "fused", 3), ("upstox", "fused", 2),
     ("upstox", "separate", 1)],
)  # fmt: skip
def test_a_synthetic_market_loses_nothing(
    capsys: pytest.CaptureFixture[str], broker: str, packing: str, connections: int
) -> None:
    result = run_chain(
        capsys, "--instruments", "300", "--rate", "2", "--duration", "4", "--packing", packing,
        "--connections", str(connections), "--broker", broker,
    )  # fmt: skip
    assert result["counts"]["sent"] > 2000 and result["read_to_computed_us"]["n"] == result["counts"]["sent"]
    assert len(result["start"]) == connections
