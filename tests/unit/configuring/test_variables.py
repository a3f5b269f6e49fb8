"""Variables: names, values as in the file, errors that name them; .env."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.configuring.variables import (
    ELSEWHERE,
    NAMED,
    OWN,
    VariableError,
    dotenv,
    names_of,
    variables_layer,
    without_keys,
)
from kite_hft.settings import Settings, yaml_value


def data_of(**environ: str) -> dict[str, object]:
    return variables_layer(environ, Settings, yaml_value)[0].data


def test_a_key_in_a_section_and_one_without() -> None:
    assert data_of(KITE_RISK__MAX_POSITIONS="5", KITE_ACCOUNT="12345") == {
        "risk": {"max_positions": 5},
        "account": "12345",  # a name, also when it looks like a number
    }
    assert data_of(KITE_KITE__RATE_LIMITS__ORDER_PLACEMENT="9") == {
        "kite": {"rate_limits": {"order_placement": 9}}
    }


def test_values_are_written_as_in_the_file() -> None:
    assert data_of(KITE_DATAFEED__STORE_TICKS="true", KITE_DATAFEED__INSTRUMENTS="[NSE:INFY, NSE:SBIN]") == {
        "datafeed": {"store_ticks": True, "instruments": ["NSE:INFY", "NSE:SBIN"]}
    }
    assert data_of(KITE_PERFORMANCE__PIN="off") == {"performance": {"pin": "off"}}
    assert data_of(KITE_RISK__MAX_DAILY_LOSS="null") == {"risk": {"max_daily_loss": None}}
    assert data_of(KITE_RISK__LISTS="~/lists") == {"risk": {"lists": "~/lists"}}


@pytest.mark.parametrize(("name", "path"), NAMED.items())
def test_the_older_names(name: str, path: tuple[str, str]) -> None:
    assert data_of(**{name: "INFO"}) == {path[0]: {path[1]: "INFO"}}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_a_run_does_not_need_is_accepted_and_told(name: str) -> None:
    layer, said = variables_layer({name: "canary"}, Settings, yaml_value)
    assert layer.data == {} and len(said) == 1 and name in said[0] and "canary" not in said[0]


def test_empty_ones_and_others_do_nothing() -> None:
    environ = dict.fromkeys(OWN, "x") | {"KITE_HFT_VAULT": "x", "KITE_API_KEY": "", "PATH": "/bin"}
    assert variables_layer(environ, Settings, yaml_value)[0].data == {}
    assert variables_layer(environ, Settings, yaml_value)[1] == []


@pytest.mark.parametrize("name", ["KITE_HFT_VALUT", "KITE_HFT_VAULTS", "KITE_HFT_VAULT_"])
def test_another_vault_that_was_not_chosen_is_told(name: str) -> None:
    (said,) = variables_layer({name: "/canary"}, Settings, yaml_value)[1]
    assert said == f"variable {name} does nothing; did you mean KITE_HFT_VAULT?"
    assert variables_layer({"KITE_HFT_CODE": "x"}, Settings, yaml_value)[1] == []


def test_a_name_that_is_nobodys_is_told_with_the_nearest_one() -> None:
    layer, said = variables_layer({"KITE_ACESS_TOKEN": "canary"}, Settings, yaml_value)
    assert layer.data == {}
    assert said == [
        "variable KITE_ACESS_TOKEN sets no key of the configuration; did you mean KITE_ACCESS_TOKEN?"
    ]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"KITE_RISK__MAX_POSITION": "3"},
            "KITE_RISK__MAX_POSITION: .*mean KITE_RISK__MAX_POSITIONS",
        ),
        ({"KITE_NO__SUCH": "3"}, "KITE_NO__SUCH: it sets no key"),
        ({"KITE_RISK__MAX_POSITIONS": "[1"}, r"KITE_RISK__MAX_POSITIONS: no value .*found '\[1'"),
        ({"KITE_MODE": "live"}, "KITE_MODE: mode live is set in a configuration file only"),
        ({"KITE_API_KEY": "a", "ZERODHA_API_KEY": "b"}, "KITE_API_KEY and ZERODHA_API_KEY set kite.api_key"),
    ],
)
def test_errors_name_the_variable(environ: dict[str, str], words: str) -> None:
    with pytest.raises(VariableError, match=words):
        variables_layer(environ, Settings, yaml_value)


def test_two_names_with_one_value_are_fine() -> None:
    assert data_of(KITE_API_KEY="a", ZERODHA_API_KEY="a") == {"kite": {"api_key": "a"}}


def test_the_simulator_gives_keys_of_its_own() -> None:
    layer, _ = variables_layer(
        {"KITE_ACCESS_TOKEN": "canary", "KITE_KITE__API_URL": "http://127.0.0.1:1"}, Settings, yaml_value
    )
    found, said = without_keys(layer)
    assert found.data == {"kite": {"api_url": "http://127.0.0.1:1"}}
    assert len(said) == 1 and "KITE_ACCESS_TOKEN" in said[0] and "canary" not in said[0]


def test_a_file_of_variables() -> None:
    text = "# c\n\nexport A=1\nB = two words # c\nC='a # b' # c\nD=\"x=y\"\nE=\n"
    assert dotenv(text, ".env") == {"A": "1", "B": "two words", "C": "a # b", "D": "x=y", "E": ""}


@pytest.mark.parametrize("line", ["canary", "A='canary", "A='canary' b", "1A=canary"])
def test_a_line_that_is_none_is_told_by_its_number_alone(line: str) -> None:
    with pytest.raises(VariableError, match=r"^\.env, line 2: ") as caught:
        dotenv(f"A=1\n{line}\n", ".env")
    assert "canary" not in str(caught.value)


def test_the_example_of_variables_is_all_known() -> None:
    found = dotenv(Path(".env.example").read_text(), ".env.example")
    assert found and not any(found.values())
    assert set(found) <= set(names_of(Settings)) | set(ELSEWHERE) | set(OWN)
    promised = "API_KEY API_SECRET USER_ID PASSWORD TOTP_SECRET ACCESS_TOKEN TELEGRAM_TOKEN TELEGRAM_CHAT_ID"
    assert {f"KITE_{name}" for name in [*promised.split(), "LOG_LEVEL", "DEBUG"]} <= set(found)
    for name in ("KITE_MASTER_PASSWORD", "KITE_CONFIG_PATH"):
        assert name in Path(".env.example").read_text()


def test_what_is_not_taken_from_a_file_is_told() -> None:
    environ = {"KITE_MASTER_PASSWORD": "canary", "KITE_ENVIRONMENT": "x"}
    _layer, said = variables_layer(environ, Settings, yaml_value, from_file=set(environ))
    assert len(said) == 1 and "KITE_MASTER_PASSWORD" in said[0] and "canary" not in said[0]
