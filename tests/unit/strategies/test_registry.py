"""Names of strategies in the configuration."""

from __future__ import annotations

import pytest

from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.strategies.registry import UnknownStrategy, strategy_class


def test_built_in():
    assert strategy_class("kalman_simple", "A") is KalmanSimple
    assert strategy_class("kalman_simple", "B") is KalmanSimpleCompiled


def test_a_user_s_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from kite_hft.strategies.base import BaseStrategy\nclass Mine(BaseStrategy):\n    name = 'm'\n"
    )
    found = strategy_class(f"{path}:Mine", "A")
    assert found.name == "m" and strategy_class(f"{path}:Mine", "A") is found
    with pytest.raises(UnknownStrategy, match="no CompiledStrategy"):
        strategy_class(f"{path}:Mine", "B")
    with pytest.raises(UnknownStrategy, match="no BaseStrategy"):
        strategy_class(f"{path}:Other", "A")


@pytest.mark.parametrize("name", ["kalman_simpel", "no.such.module:Mine", "/nowhere/file.py:Mine"])
def test_unknown(name):
    with pytest.raises(UnknownStrategy):
        strategy_class(name, "A")


def test_a_file_that_fails_is_not_kept(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("raise RuntimeError('no')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            strategy_class(f"{path}:Mine", "A")
