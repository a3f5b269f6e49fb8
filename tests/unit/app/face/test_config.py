"""`config`: read when it is asked for, from $KITE_CONFIG_PATH or config/config.yaml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kite_hft.app.face.config import Config
from kite_hft.settings import SettingsError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KITE_CONFIG_PATH", raising=False)


def test_the_variable_comes_before_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("kite: {api_key: here}\n")
    config = Config()
    assert "not read yet" in repr(config) and config.kite.api_key == "here"
    (tmp_path / "other.yaml").write_text("kite: {api_key: there}\n")
    monkeypatch.setenv("KITE_CONFIG_PATH", "other.yaml")
    assert config.kite.api_key == "here", "read once"
    config.reload()
    assert config.kite.api_key == "there" and config.path == tmp_path / "other.yaml"


def test_what_is_missing_is_said_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    with pytest.raises(SettingsError, match=r"config\.yaml\.example"):
        _ = config.kite
    monkeypatch.setenv("KITE_CONFIG_PATH", "none.yaml")
    with pytest.raises(SettingsError, match="no such file"):
        _ = config.kite
    (tmp_path / "none.yaml").write_text("kiet: {}\n")
    with pytest.raises(SettingsError, match="did you mean 'kite'"):
        _ = config.kite
    (tmp_path / "none.yaml").write_text("")
    with pytest.raises(AttributeError, match="no section 'kiet'; it has "):
        _ = config.kiet


def test_importing_the_package_imports_nothing() -> None:
    code = (
        "import sys, kite_hft; print([m for m in sys.modules if m.startswith('kite_hft.') or m == 'numpy'])"
    )
    source = Path(__file__).resolve().parents[4] / "src"
    env = {"PYTHONPATH": str(source), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "from kite_hft import config; import sys; print([m in sys.modules for m in WANTED])"
    code = code.replace("WANTED", "('numba', 'kite_hft.engine')")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[False, False]"


def test_the_five_names_are_there_and_others_are_named() -> None:
    import kite_hft

    for name in kite_hft.__all__:
        assert getattr(kite_hft, name) is not None and name in dir(kite_hft)
    with pytest.raises(AttributeError, match="it has BaseStrategy, DataFeedService, KiteAuthenticator"):
        _ = kite_hft.Strategy
