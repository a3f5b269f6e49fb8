"""Keys that do nothing here, limits that somebody relies on, secrets that lie open."""

from __future__ import annotations

from pathlib import Path

from kite_hft.configuring.remarks import aliases, idle_keys, relied_upon, secret_values, secrets_in_files
from kite_hft.settings import Loaded, Settings, read_settings


def read(folder: Path, text: str, **environ: str) -> Loaded:
    (folder / "c.yaml").write_text(text)
    return read_settings(folder / "c.yaml", environ=environ)


def test_idle_keys_are_those_that_somebody_has_set(tmp_path: Path) -> None:
    given = read(tmp_path, "profile: lean\nperformance:\n  io_threads: 2\n", KITE_LOG_LEVEL="DEBUG").given
    rows = {key: str(origin) for key, origin, _note in idle_keys(Settings, given)}
    assert rows == {"performance.io_threads": f"{tmp_path}/c.yaml:3", "logging.level": "KITE_LOG_LEVEL"}
    assert relied_upon(Settings, given) == []


def test_every_other_name_stands_for_a_key_that_there_is() -> None:
    found = aliases(Settings)
    assert len(found) == 4
    for key in found.values():
        section, name = key
        assert str(name) in Settings.model_fields[str(section)].annotation.model_fields  # type: ignore[union-attr]


def test_secrets_in_files_and_not_those_of_the_environment(tmp_path: Path) -> None:
    text = "mode: paper\nkite:\n  api_key: k\n  api_secret: ''\n"
    given = read(tmp_path, text, KITE_ACCESS_TOKEN="t").given
    values = secret_values(Settings, given)
    assert set(values) == {("kite", "api_key"), ("kite", "access_token")}
    assert [(key, o.line) for key, o in secrets_in_files(given, values)] == [("kite.api_key", 3)]
