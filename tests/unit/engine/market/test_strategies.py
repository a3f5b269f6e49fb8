"""Configured strategies: made with their parameters, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.engine.market.strategies import StrategyError, check_strategies, make_strategy
from kite_hft.settings import ConsoleSection, Settings, StrategySection
from kite_hft.strategies.classic import ClassicKalman
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled


def section(**fields: object) -> StrategySection:
    return StrategySection(**{"name": "kalman_simple", **fields})


@pytest.mark.parametrize(("form", "made"), [("A", KalmanSimple), ("B", KalmanSimpleCompiled)])
def test_both_forms(form: str, made: type) -> None:
    strategy = make_strategy(Settings(), section(form=form, params={"threshold": 0.5}), print)
    assert type(strategy) is made and strategy.settings.threshold == 0.5


def test_the_classic_console_gets_the_speaking_one() -> None:
    settings = Settings(console=ConsoleSection(classic=True))
    assert isinstance(make_strategy(settings, section(), print), ClassicKalman)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "kalman_simpel"}, "built in: kalman_ml, kalman_simple"),
        ({"name": "no.such.module:Class"}, "cannot be imported"),
        ({"params": {"treshold": 1}}, "treshold"),
        ({"params": {"quantity": 0}}, "quantity >= 1"),
        ({"params": {"product": "XYZ"}}, "XYZ"),
        ({"params": {"q": 1e-4}}, "'q'"),
    ],
)
def test_what_cannot_be_made_says_why(fields: dict, words: str) -> None:
    with pytest.raises(StrategyError, match=words):
        check_strategies(Settings(strategies=[section(**fields)]))


def test_a_strategy_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from kite_hft.strategies.base import BaseStrategy\n\nclass Mine(BaseStrategy):\n    name = 'mine'\n"
    )
    assert make_strategy(Settings(), section(name=f"{file}:Mine"), print).name == "mine"
