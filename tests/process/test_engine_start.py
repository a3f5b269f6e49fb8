"""An engine that is stopped while it starts, or started in odd surroundings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from engine_tools import demo_config

from kite_hft.engine.runs.run_folder import account_tag
from kite_hft.engine.runs.runs import shared_home

MOMENTS: dict[str, Callable[[Path, str], bool]] = {
    "the simulator starts": lambda runs, tag: any(runs.glob("20*/*/engine.log")),
    "instruments are known": lambda runs, tag: any(runs.glob("20*/*/instruments.csv")),
    "memory is made": lambda runs, tag: any(shared_home().glob(f"{tag}-*/*.seg")),
    "the run is announced": lambda runs, tag: any(runs.glob("20*/*/run.json")),
    "orders has its journal": lambda runs, tag: any(runs.glob("20*/*/journal.bin")),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    account = f"START{os.getpid()}x{list(MOMENTS).index(moment)}x{int(number)}"
    config = demo_config(tmp_path, account)
    tag, runs = account_tag("kite", account), tmp_path / f"kite_hft/kite-{account}"
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
    engine = subprocess.Popen(
        command, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not MOMENTS[moment](runs, tag):
            assert engine.poll() is None and time.monotonic() < deadline
        children = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(number)
        said, _ = engine.communicate(timeout=60)
    finally:  # nothing goes on after a test that failed
        engine.kill()
        engine.communicate()
    assert engine.returncode == 0 and "Traceback" not in said, said
    assert "stopped before the start" in said or "Summary" in said
    assert not list(shared_home().glob(f"{tag}*"))
    assert psutil.wait_procs(children, timeout=30)[1] == []


HOLD = """
import os, sys
from kite_hft.engine.command import hold_standard_streams
hold_standard_streams()
with open(sys.argv[1], "w") as journal:
    print(journal.fileno(), *(os.readlink(f"/proc/self/fd/{n}") for n in range(3)), file=journal)
"""


def test_no_file_of_the_run_gets_the_number_of_a_standard_stream_that_was_closed(tmp_path: Path) -> None:
    """A library that prints would write into it."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", HOLD, str(tmp_path / "file")],
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    number, *streams = (tmp_path / "file").read_text().split()
    assert int(number) > 2 and streams == ["/dev/null"] * 3
