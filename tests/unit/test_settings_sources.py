"""Base file, overlay, variables, profile: what counts, where each value is from, and errors that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.settings import Loaded, SettingsError, load_settings, read_settings


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(folder: Path, text: str, over: str | None = None, **environ: str) -> Loaded:
    path = write(folder, text)
    if over is not None:
        write(folder, over, "c.live.yaml")
    return read_settings(path, "live" if over is not None else None, environ)


def error_of(folder: Path, text: str, over: str | None = None, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, over, **environ)
    return str(caught.value)


def test_each_source_comes_over_the_one_before(tmp_path: Path) -> None:
    base = "profile: lean\nrisk:\n  max_positions: 1\n  max_exposure: 2\n  max_working_orders: 3\n"
    over = "risk:\n  max_exposure: 4\n  max_working_orders: 5\n"
    found = read(tmp_path, base, over, KITE_RISK__MAX_WORKING_ORDERS="6")
    risk = found.settings.risk
    assert (risk.max_positions, risk.max_exposure, risk.max_working_orders) == (1, 4, 6)
    assert found.settings.performance.ring_buffer_size == 100_000
    origin = {k: str(found.origin(("risk", k))) for k in ("max_positions", "max_exposure", "max_order_value")}
    assert origin["max_positions"] == f"{tmp_path}/c.yaml:3"
    assert origin["max_exposure"] == f"{tmp_path}/c.live.yaml:2"
    assert origin["max_order_value"] == "default"
    assert str(found.origin(("risk", "max_working_orders"))) == "KITE_RISK__MAX_WORKING_ORDERS"
    assert str(found.origin(("performance", "ring_buffer_size"))) == "profile lean"
    assert [path.name for path in found.files] == ["c.yaml", "c.live.yaml"]


def test_the_environment_is_chosen_by_name_or_variable(tmp_path: Path) -> None:
    path = write(tmp_path, "account: A\n")
    write(tmp_path, "account: B\n", "c.test.yaml")
    assert load_settings(path, environ={}).account == "A"
    assert load_settings(path, "test", {}).account == "B"
    assert load_settings(path, environ={"KITE_ENVIRONMENT": "test"}).account == "B"
    with pytest.raises(SettingsError, match=r"c\.tset\.yaml: no such file.*'tset'; there are test"):
        load_settings(path, "tset", {})
    with pytest.raises(SettingsError, match="letters, digits"):
        load_settings(path, "../x", {})


def test_an_error_in_an_overlay_names_its_file_and_line(tmp_path: Path) -> None:
    text = error_of(
        tmp_path, "risk:\n  max_positions: 1\n", "\nrisk:\n  max_positions: -1\n  max_postions: 2\n"
    )
    assert "c.live.yaml, line 3: risk.max_positions" in text
    assert "c.live.yaml, line 4: unknown key 'risk.max_postions'; did you mean 'max_positions'?" in text


def test_an_error_in_a_variable_names_it_and_no_secret(tmp_path: Path) -> None:
    text = error_of(tmp_path, "", KITE_RISK__MAX_POSITIONS="many")
    assert text.startswith("variable KITE_RISK__MAX_POSITIONS: risk.max_positions: ") and "'many'" in text
    text = error_of(tmp_path, "", KITE_TELEGRAM_TOKEN="canary")
    assert text.startswith("variable KITE_TELEGRAM_TOKEN: ") and "canary" not in text
    text = error_of(
        tmp_path, "mode: paper\n", KITE_ACCESS_TOKEN="canary", KITE_KITE__API_URL="http://1.2.3.4"
    )
    assert "variable KITE_KITE__API_URL: " in text and "not encrypted" in text and "canary" not in text


@pytest.mark.parametrize("text", ["kite: canary\n", "kite: [canary]\n", "kite:\n  access_token: [canary]\n"])
def test_what_stands_where_keys_should_is_not_shown(tmp_path: Path, text: str) -> None:
    told = error_of(tmp_path, text)
    assert "c.yaml, line " in told and "canary" not in told


def test_keys_from_variables_count_everywhere_but_in_the_simulation(tmp_path: Path) -> None:
    assert read(tmp_path, "mode: paper\n", KITE_ACCESS_TOKEN="t").settings.kite.access_token == "t"
    found = read(tmp_path, "mode: sim\n", KITE_ACCESS_TOKEN="canary")
    assert found.settings.kite.access_token == "" and "KITE_ACCESS_TOKEN" in found.said[0]


@pytest.mark.parametrize("profile", ["speed", "lean"])
def test_what_a_file_says_comes_over_a_profile(tmp_path: Path, profile: str) -> None:
    found = read(tmp_path, f"profile: {profile}\n").settings
    assert found.profile == profile
    own = read(tmp_path, f"profile: {profile}\nperformance:\n  pin: 'off'\n  queue_size: 4096\n").settings
    assert own.performance.pin == "off" and own.performance.queue_size == 4096


def test_the_profiles_set_what_was_promised(tmp_path: Path) -> None:
    speed = read(tmp_path, "profile: speed\n").settings.performance
    assert (speed.worker_threads, speed.tick_aggregation_interval, speed.use_mmap) == (8, 50, True)
    lean = read(tmp_path, "profile: lean\n").settings
    assert (lean.performance.ring_buffer_size, lean.performance.buffer_size) == (100_000, 1000)
    assert not lean.datafeed.store_ticks
    assert (
        "unknown" not in error_of(tmp_path, "profile: fast\n")
        and read(tmp_path, "profile: lean\n").said == ()
    )


def test_a_profile_by_a_variable(tmp_path: Path) -> None:
    assert read(tmp_path, "", KITE_PROFILE="lean").settings.performance.buffer_size == 1000


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = error_of(tmp_path, "risk:\n  max_positions: 1\nmode: sim\nrisk:\n  max_exposure: 5\n")
    assert "c.yaml: line 4: risk is there already, in line 1" in text


def test_dotenv_in_the_folder_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "mode: paper\n")
    monkeypatch.chdir(tmp_path)
    for name in ("KITE_ACCESS_TOKEN", "KITE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path, "KITE_ACCESS_TOKEN=t\nKITE_ACCOUNT=FROMFILE\n", ".env")
    monkeypatch.setenv("KITE_ACCOUNT", "OUTSIDE")
    found = read_settings(path)
    assert (found.settings.kite.access_token, found.settings.account) == ("t", "OUTSIDE")
    assert str(found.origin(("kite", "access_token"))) == "KITE_ACCESS_TOKEN in .env"
    assert str(found.origin(("account",))) == "KITE_ACCOUNT"


def test_variables_make_another_configuration_and_their_secrets_do_not_show(tmp_path: Path) -> None:
    one = read(
        tmp_path, "mode: paper\n", KITE_RISK__MAX_POSITIONS="3", KITE_ACCESS_TOKEN="canary"
    ).variables()
    two = read(
        tmp_path, "mode: paper\n", KITE_RISK__MAX_POSITIONS="4", KITE_ACCESS_TOKEN="canary"
    ).variables()
    assert one != two and "canary" not in one and read(tmp_path, "mode: paper\n").variables() == ""


def test_the_example_loads_from_where_it_is_copied_to() -> None:
    found = read_settings(Path("config/config.yaml.example"), environ={})
    assert found.said == () and found.settings.mode == "sim" and found.settings.risk.max_daily_loss == 5000
