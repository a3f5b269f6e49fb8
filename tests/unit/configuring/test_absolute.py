"""Relative paths of a configuration are meant from the folder of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.settings import load_settings


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("history.json", "{folder}/history.json"),
        ("../days/x.json", "{folder}/../days/x.json"),
        ("/srv/x.json", "/srv/x.json"),
        ("~/x.json", "{home}/x.json"),
        ("metadata", "metadata"),
    ],
)
def test_the_history_of_a_strategy(written: str, meant: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"strategies: [{{name: kalman_simple, params: {{history: {written}, warmup: 3}}}}]\n")
    (section,) = load_settings(path, environ={}).strategies
    assert section.params == {"history": meant.format(folder=tmp_path, home=Path.home()), "warmup": 3}


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "credentials: {file: v}\ntrading: {rules: r.yaml}\nrisk: {lists: l}\n"
        "datafeed: {universe: u.yaml}\nsimulator: {replay: day}\nstrategies: [{path: s.py}]\n"
    )
    found = load_settings(path, environ={})
    names = (
        found.credentials.file, found.trading.rules, found.risk.lists, found.datafeed.universe,
        found.simulator.replay, found.strategies[0].path,
    )  # fmt: skip
    assert [str(p) for p in names] == [
        str(tmp_path / n) for n in ("v", "r.yaml", "l", "u.yaml", "day", "s.py")
    ]
