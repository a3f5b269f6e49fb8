"""What a user can copy runs as written: the template, the small strategies, the scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_tools import kite_hft, own
from face_tools import environment
from strategy_tools import Market, ended_meanwhile, refused, unanswered

from kite_hft.strategies.registry import class_in_file

ROOT = Path(__file__).resolve().parents[2]


def run_config(folder: Path, config: Path, seconds: str) -> dict[str, Any]:
    """The report of a run, which ends in order."""
    env = environment(folder, None)
    done = kite_hft(env, "run", str(config), "--plain", "--duration", seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    (latest,) = (folder / "state/kite_hft").glob("kite-*/latest")
    found: dict[str, Any] = json.loads((latest / "report.json").read_text())
    # An order that the end of the run refuses says so; the table breaks that sentence over its lines.
    said = re.sub(r"[\s│]+", " ", done.stdout)
    assert "halted" not in said.replace("halted: stopping", ""), done.stdout
    return found


def blocks(page: Path) -> dict[str, str]:
    """The code of a page, by the file name in its first line."""
    found = re.findall(r"^```(?:python|yaml)\n# (\w+\.(?:py|yaml))(.*?)^```$", page.read_text(), re.M | re.S)
    return dict(found)


def test_the_template_runs_in_both_forms(tmp_path: Path) -> None:
    page = blocks(ROOT / "STRATEGY_TEMPLATE.md")
    assert set(page) == {"trend_a.py", "trend_a.yaml", "trend_b.py", "trend_b.yaml"}
    for name in ("trend_a.py", "trend_b.py"):
        (tmp_path / name).write_text(page[name])
    whole = (
        page["trend_a.yaml"].replace("/path/to/kite_hft", str(ROOT)).replace("account: TREND", "account: {}")
    )
    section = re.search(r"^strategies:\n(?: .*\n)+", whole, re.M)
    assert section
    form_b = page["trend_b.yaml"].split("\n", 1)[1]
    for form, text in (("A", whole), ("B", whole.replace(section[0], form_b))):
        config = tmp_path / f"trend_{form}.yaml"
        config.write_text(text.replace("{}", own(f"TREND{form}")).replace("rate: 20\n", "rate: 100\n"))
        report = run_config(tmp_path / form, config, "6")
        assert report["orders"]["sent"] >= 2 and report["orders"]["filled"] >= 1, (form, report["orders"])
        # On a busy machine a stop may be moved while the exchange still takes it in: nothing else is refused.
        refused_for = {**report["orders"]["refused_for"]}
        if "being processed" in refused_for.get("BROKER", ""):
            del refused_for["BROKER"]
        assert not refused_for, (form, report["orders"])


def test_both_forms_of_the_template_wish_for_the_same(tmp_path: Path) -> None:
    page = blocks(ROOT / "STRATEGY_TEMPLATE.md")
    params = {"fast": 5, "slow": 20, "edge": 1e-5, "quantity": 7, "stop": 0.01, "target": 0.02, "entries": 3}
    prices = 500 + np.cumsum(np.random.default_rng(3).normal(0, 0.4, 800))
    made = []
    for form, name in (("A", "trend_a.py"), ("B", "trend_b.py")):
        (tmp_path / name).write_text(page[name])
        strategy = class_in_file(tmp_path / name, "", form)(**params)
        market = Market(strategy, cache_dir=tmp_path, answers={3: refused, 7: unanswered})
        market.run((np.round(prices * 20) / 20).tolist())
        made.append([(at, i["kind"], i["qty"], i["px"], i["trigger_px"])
                     for at, i in zip(market.ticks, market.intents, strict=True)])  # fmt: skip
    assert made[0] == made[1] and len(made[0]) >= 2


@pytest.mark.parametrize(("form", "name"), [("A", "trend_a.py"), ("B", "trend_b.py")])
def test_the_template_goes_on_after_an_end_that_it_hears_of_late(
    tmp_path: Path, form: str, name: str
) -> None:
    (tmp_path / name).write_text(blocks(ROOT / "STRATEGY_TEMPLATE.md")[name])
    params = {"fast": 5, "slow": 20, "edge": 1e-5, "quantity": 7, "stop": 0.01, "target": 0.02, "entries": 3}
    strategy = class_in_file(tmp_path / name, "", form)(**params)
    market = Market(strategy, cache_dir=tmp_path, answers={1: ended_meanwhile})
    market.run((500 + np.arange(60)).tolist())
    assert [wish for _, wish, _ in market.made()] == ["BUY", "EXITS"] * 2


@pytest.mark.parametrize(
    ("name", "sent"), [("my_strategy", 0), ("moving_average", 2), ("opening_range", 2), ("pairs", 2)]
)
def test_an_example_strategy_runs(tmp_path: Path, name: str, sent: int) -> None:
    text = (ROOT / f"examples/{name}.yaml").read_text().replace("../config/", f"{ROOT}/config/")
    text = re.sub(r"account: \w+", f"account: {own(name[:6].upper())}", text)
    text = text.replace("path: ", f"path: {ROOT}/examples/").replace("rate: 20\n", "rate: 60\n")
    config = tmp_path / "config.yaml"
    config.write_text(text)
    report = run_config(tmp_path, config, "9")
    assert report["ticks"]["computed"] > 100 and report["ticks"]["lost"] == 0
    assert report["orders"]["sent"] >= sent and report["orders"]["rejected"] == 0, report["orders"]
    if name == "pairs":
        assert report["orders"]["filled"] % 2 == 0 or report["positions"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["scripts/quick_start.py", "--seconds", "3"], "What next:"),
        (["scripts/quick_start.py", "--seconds", "3", "--broker", "upstox"], "What next:"),
        (["examples/basic_usage.py", "--short"], "bars of a second, the last closed at"),
    ],
)
def test_a_script_shows_ticks(tmp_path: Path, words: list[str], shown: str) -> None:
    env = environment(tmp_path, None)
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=100, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown in done.stdout and done.stdout.count("NSE:RELIANCE ") >= 3, done.stdout
    assert "Traceback" not in done.stderr


def test_the_guides_name_commands_and_files_that_there_are() -> None:
    from typer.main import get_command

    from kite_hft.app.verbs import app

    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    pages = [ROOT / "docs/NEW_USER_GUIDE.md", ROOT / "docs/python.md", ROOT / "STRATEGY_TEMPLATE.md"]
    for page in pages:
        text = page.read_text()
        named = set(re.findall(r"kite-hft ([a-z][a-z-]+)", text))
        assert named <= verbs, f"{page.name}: no verb {named - verbs}"
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for path in re.findall(r"\b((?:examples|scripts|benchmarks)/\w+\.(?:py|yaml))\b", text):
            assert (ROOT / path).exists() or path == "examples/test_auto_login.py", f"{page.name}: {path}"
    assert os.access(ROOT / "scripts/quick_start.py", os.R_OK)
