"""`kite-hft kill` sets the latch whoever calls it."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from kite_hft.app.person import user_name
from kite_hft.app.steer.kill import latch, latch_file
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.runs.run_folder import state_dir
from kite_hft.engine.runs.runs import Account, NoRun


@pytest.mark.parametrize("trouble", [KeyError("getpwuid(): uid not found: 1000"), OSError("no user name")])
def test_a_user_without_a_name_kills_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def nobody() -> str:
        raise trouble

    monkeypatch.setattr(getpass, "getuser", nobody)
    latch(Account("zerodha", "A1", tmp_path, None), "a loss", flatten=True)
    found = read_latch(tmp_path)
    assert found is not None and found.flatten
    assert found.by == f"uid {os.getuid()} by kite-hft kill" and user_name() == f"uid {os.getuid()}"


def test_without_a_home_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb tells an OSError in one line."""

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert state_dir({"XDG_STATE_HOME": "/var/lib/x"}) == Path("/var/lib/x/kite_hft")
    with pytest.raises(OSError, match="set HOME, or XDG_STATE_HOME"):
        state_dir({})


def test_without_an_engine_a_latch_that_cannot_be_written_kills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Account("zerodha", "A1", tmp_path / "gone", None)
    with pytest.raises(
        NoRun, match=r"NOT killed: .*gone/KILL cannot be written: No such file.* no engine runs"
    ):
        latch(gone, "a loss", flatten=False)
    assert latch_file(gone) is None

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    here = Account("zerodha", "A1", tmp_path, None)
    latch(here, "a loss", flatten=False)
    assert latch_file(here) == str(tmp_path / "KILL")
    with pytest.raises(NoRun, match=r"NOT closed: .*KILL has no room for the word that closes positions"):
        latch(here, "a loss", flatten=True)
