"""AUX records of a run on Upstox: published, read by `kite-hft aux`, as many as the frames hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_tools import Engine, own
from reference.upstox_frames import Twin

from kite_hft.app.files.aux import NAMES, readers_of
from kite_hft.engine.runs.runs import NoRun
from kite_hft.layout import AUX, AuxKind, SegmentKind
from kite_hft.memory.follow import FollowingReader
from kite_hft.memory.recording import Recording
from kite_hft.trading.instruments import read_csv

FILES = {
    "calendar": "calendar/india.yaml",
    "rules": "rules/upstox_2026-04-01.yaml",
    "charges": "rules/charges_upstox_2026-04-01.yaml",
    "market": "rules/market_2026-08-03.yaml",
    "indices": "rules/indices_2026-08-03.yaml",
}
FEED = "  mode: full_d30\n  aux: {aux}\n  store_ticks: true\n  tick_storage_format: frames\n"


@contextmanager
def engine(folder: Path, account: str, aux: str) -> Iterator[Engine]:
    """The demo of Upstox with 30 levels; few ticks, so that the ring still holds the first records."""
    text = Path("config/demo_upstox.yaml").read_text().replace("account: DEMOUPX", f"account: {account}")
    files = "".join(f"  {key}: {Path('config').resolve() / name}\n" for key, name in FILES.items())
    text = text.replace("form: B", "form: A").replace("  rate: 10 ", "  rate: 2 ")
    text = text.replace("  mode: full\n", FEED.format(aux=aux)).replace("trading:\n", f"trading:\n{files}")
    (folder / "engine.yaml").write_text(text + "upstox:\n  plus: true\n")
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(folder / "engine.yaml")]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with (folder / "engine.out").open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, text=True)
    found = Engine(process, account, env)
    try:
        deadline = time.monotonic() + 60
        while "are subscribed" not in (folder / "engine.out").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "engine.out").read_text()
            time.sleep(0.1)
        yield found
    finally:
        found.end()


def run_folder(folder: Path, account: str) -> Path:
    (path,) = (folder / f"state/kite_hft/upstox-{account}").glob("20*/*")
    return path


def lines(found: Engine, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.ask("aux", *words).splitlines()]


def on_the_wire(folder: Path) -> list[tuple[int, int, int, list[float]]]:
    """(slot, kind, part, values) of all recorded frames, by the slow twin."""
    table = read_csv(folder / "instruments.csv")
    twin = Twin({row.upstox_key: (row.slot, float(row.scale), row.tick_px) for row in table})
    return [
        record for _, _, data in Recording(folder / "frames-0.rec").frames for record in twin.frame(data)[1]
    ]


def test_aux_records_are_published_read_and_counted(tmp_path: Path) -> None:
    account = own("AUX")
    with engine(tmp_path, account, "true") as found:
        *read, last = lines(found, "--seconds", "3")
        only = lines(found, "--kind", "greeks", "--seconds", "0")[:-1]
        market = lines(found, "--kind", "market", "--seconds", "0")[:-1]
        assert "there are greeks" in found.ask("aux", "--kind", "nonsense", code=1)
    folder = run_folder(tmp_path, account)
    report = json.loads((folder / "report.json").read_text())
    feed = report["ticks"]["by_connection"][0]
    wire = on_the_wire(folder)
    assert feed["aux_published"] == len(wire) > 1000 and feed["aux_dropped"] == 0
    assert last == {"records": len(read), "lost": 0} and len(read) <= len(wire)
    assert {row["kind"] for row in read} == {kind.name.lower() for kind in AuxKind}
    table = read_csv(folder / "instruments.csv")
    for row, (slot, kind, part, values) in zip(read, wire, strict=False):  # from the first record on
        assert row["kind"] == AuxKind(kind).name.lower()
        if kind != AuxKind.MARKET:
            assert row["instrument"] == table[slot].key
        if kind == AuxKind.DEPTH:
            assert [level["level"] for level in row["levels"]][:1] == [6 + 3 * part]
            flat = [v for level in row["levels"] for v in list(level.values())[1:]]
            assert flat == values
        elif kind != AuxKind.MARKET:
            told = [row[name] for name in NAMES[AuxKind(kind)]]
            assert told == [None if value != value else value for value in values[: len(told)]]
    assert only and {row["kind"] for row in only} == {"greeks"}
    assert {"NSE_EQ", "NSE_FO"} <= {row["segment"] for row in market}


def test_only_the_kinds_that_were_asked_for_are_kept(tmp_path: Path) -> None:
    account = own("AUXG")
    with engine(tmp_path, account, "[greeks]") as found:
        *read, _ = lines(found, "--seconds", "2")
    assert read and {row["kind"] for row in read} == {"greeks"}
    wire = on_the_wire(run_folder(tmp_path, account))
    report = json.loads((run_folder(tmp_path, account) / "report.json").read_text())
    wanted = sum(kind == AuxKind.GREEKS for _, kind, _, _ in wire)
    assert report["ticks"]["by_connection"][0]["aux_published"] == wanted


def test_without_aux_it_is_said_how_to_get_them(tmp_path: Path) -> None:
    note: Any = SimpleNamespace(shm=str(tmp_path))
    with pytest.raises(NoRun, match=r"set datafeed\.aux to true"):
        readers_of(note)


def test_readers_and_writers_that_are_killed(tmp_path: Path) -> None:
    """A reader that dies is nobody's matter; after its writer died the ring goes on in a new generation."""
    account = own("AUXK")
    with engine(tmp_path, account, "true") as found:
        note = json.loads((run_folder(tmp_path, account) / "run.json").read_text())
        words = [sys.executable, "-m", "kite_hft.app.cli", "aux", "--account", account]
        dying = subprocess.Popen(words, env=found.env, stdout=subprocess.PIPE)
        assert dying.stdout is not None
        with dying.stdout:
            assert dying.stdout.readline().startswith(b"{")
            dying.send_signal(signal.SIGKILL)
            assert dying.wait() == -signal.SIGKILL
        reader = FollowingReader(Path(note["shm"]), "aux-0", SegmentKind.AUX_RING)
        try:
            seqs, first = taken_of(reader, 200), reader.position
            market = next(p for p in found.json("status")["processes"] if p["name"].startswith("market"))
            os.kill(market["pid"], signal.SIGKILL)
            found.until(lambda told: any(p["restarts"] for p in told["processes"]))
            after, lost = taken_of(reader, 500), reader.lost
        finally:
            reader.close()
        assert after[-1] >= first + 500
        numbers = np.array(seqs + after)
        gaps = np.diff(numbers) - 1
        assert (gaps >= 0).all() and gaps.sum() == lost  # nothing twice; what is missing is counted
        *rows, last = lines(found, "--seconds", "1", "--kind", "greeks")
        assert rows and last["records"] >= len(rows)
    report = json.loads((run_folder(tmp_path, account) / "report.json").read_text())
    feed = report["ticks"]["by_connection"][0]
    assert feed["restarts"] == 1 and feed["aux_published"] >= len(after)


def taken_of(reader: FollowingReader, least: int) -> list[int]:
    """Numbers of so many records at least, as they come."""
    out, found = np.zeros(1024, AUX), []
    deadline = time.monotonic() + 60
    while len(found) < least:
        assert time.monotonic() < deadline, len(found)
        n = reader.drain(out)
        found += out["seq"][:n].tolist()
        time.sleep(0.01)
    return found
