"""Names of strategies in the configuration."""

from __future__ import annotations

import pytest

from kite_hft.configuring.models.market import StrategySection
from kite_hft.settings import load_settings
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.strategies.registry import UnknownStrategy, class_of, strategy_class


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
        with pytest.raises(UnknownStrategy, match=r"bad\.py cannot be loaded: RuntimeError: no"):
            strategy_class(f"{path}:Mine", "A")


TWO = """
from kite_hft import BaseStrategy

class First(BaseStrategy):
    pass

class Second(First):
    pass
"""


def section(tmp_path, name=None, **more):
    named = {} if name is None else {"name": name}
    return StrategySection(path=tmp_path / "mine.py", **named, **more)


def test_a_file_with_one_strategy_needs_no_name(tmp_path):
    (tmp_path / "mine.py").write_text(TWO.partition("class Second")[0])
    found = section(tmp_path)
    assert found.name == "mine" and class_of(found).__name__ == "First"
    assert class_of(section(tmp_path, "trend")) is class_of(found), "a name for people"
    with pytest.raises(UnknownStrategy, match="defines no CompiledStrategy"):
        class_of(section(tmp_path, form="B"))


def test_of_several_the_name_chooses(tmp_path):
    (tmp_path / "mine.py").write_text(TWO)
    assert class_of(section(tmp_path, "Second")).__name__ == "Second"
    with pytest.raises(UnknownStrategy, match="several strategies: First, Second; say which"):
        class_of(section(tmp_path))


def test_a_path_is_meant_from_the_configurations_folder(tmp_path):
    (tmp_path / "engine.yaml").write_text("strategies:\n  - path: mine.py\n")
    (found,) = load_settings(tmp_path / "engine.yaml").strategies
    assert found.path == tmp_path / "mine.py"
    with pytest.raises(UnknownStrategy, match=r"mine\.py does not exist"):
        class_of(found)
