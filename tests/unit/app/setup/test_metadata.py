"""`kite-hft metadata`: what cannot be is one line and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kite_hft.app.setup.metadata import metadata

APP = typer.Typer()
APP.command()(metadata)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 3, "kite-hft login"),
        (["--since", "yesterday"], 2, "YYYY-MM-DD"),
        (["--until", "2026-02-30"], 2, "YYYY-MM-DD"),
        (["--broker", "other"], 2, "kite and upstox"),
        (["-i", "NSE:SBIN", "--universe", "x.yaml"], 2, "keep one"),
        (["--config", "none.yaml"], 2, "none.yaml"),
    ],
)
def test_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("KITE_HFT_VAULT", raising=False)
    path = tmp_path / "paper.yaml"
    path.write_text("mode: paper\n")
    done = CliRunner().invoke(APP, ["--config", str(path), *words])
    assert done.exit_code == code, done.output
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
