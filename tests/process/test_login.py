"""kite-hft login and logout against both simulators: page, paste, catcher, phone, typed tokens, an engine."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from engine_tools import engine, own
from login_tools import CONSOLE, Desk, free_port, sent_to
from sim_tools import Running, simulator

from kite_hft import KiteAuthenticator
from kite_hft.app.face.authenticator import NotAuthenticated
from kite_hft.app.keys.login import login, logout

BROKERS = ("kite", "upstox")


@pytest.fixture(params=BROKERS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A person with keys in the vault, whose app redirects to a free port of this machine."""
    with at_desk(tmp_path, str(request.param)) as made:
        yield made


class at_desk:
    """A desk and its simulator, for a while."""

    def __init__(self, folder: Path, broker: str, *options: str) -> None:
        self.redirect = f"http://127.0.0.1:{free_port()}/back"
        self.folder, self.broker = folder, broker
        words = ("--broker", broker, "--instruments", "2", "--redirect-url", self.redirect, *options)
        self.simulator = simulator(*words)

    def __enter__(self) -> Desk:
        return Desk(self.folder, self.broker, self.simulator.__enter__(), self.redirect)

    def __exit__(self, *error: object) -> None:
        self.simulator.__exit__(None, None, None)


def test_a_pasted_address_ends_in_a_token_in_the_vault(desk: Desk) -> None:
    said = desk.log_in()
    values = desk.values()
    end = "06:00:00" if desk.broker == "kite" else "03:30:00"
    assert "SIM001 (Simulated Client)" in said and f"{end} IST" in said and desk.taken()
    assert values["access_token_until"].endswith(f"T{end}+05:30") and values["access_token"] not in said
    code, told = desk.call(login, show=True, check=True, as_json=True)
    (row,) = json.loads(told)["tokens"]
    assert code == 0 and row["good"] and row["until"] == values["access_token_until"]
    assert values["access_token"] not in told
    code, told = desk.call(logout)
    assert code == 0 and "the session is ended" in told and "access_token" not in desk.values(), told
    code, told = desk.call(login, show=True)
    assert code == 1 and "no token is good now" in told
    assert desk.call(logout)[0] == 1


def test_a_browser_of_this_machine_is_caught_and_a_stranger_is_not_believed(desk: Desk) -> None:
    with desk.verb("login", "--json") as process:
        back = sent_to(desk.page_of(process))
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(
                f"{desk.redirect_url}?request_token=evil1&code=evil1&state=guess", timeout=20
            )
        assert refused.value.code == 400
        refused.value.close()
        with urllib.request.urlopen(back, timeout=20) as answer:
            assert b"look at the terminal" in answer.read()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "not the answer to this login" in said, said
    done = json.loads(said[said.index("{") :])
    assert done["user_id"] == "SIM001" and desk.taken()
    assert done["engines"] == [], "engines with another login are left alone"


def test_troubles_are_told_in_words_and_change_nothing(desk: Desk) -> None:
    used = desk.fresh_code()
    code, said = desk.call(login, f"{used}\n")
    assert code == 0, said
    token = desk.values()["access_token"]
    code, said = desk.call(login, f"{used}\n")
    assert code == 1 and "good once" in said, said
    code, said = desk.call(login, timeout=1.0)
    assert code == 1 and "nothing has come within 1 s" in said
    desk.put(access_token_until="unknown")
    code, said = desk.call(login, show=True)
    assert code == 1 and "not tried: --check" in said
    assert desk.call(login, show=True, check=True)[0] == 0
    desk.put(api_secret="wrong")
    code, said = desk.call(login, f"{desk.fresh_code()}\n")
    assert code == 1 and "secret" in said.lower() and "kite-hft credentials" in said, said
    assert desk.values()["access_token"] == token and desk.taken()
    desk.put(api_secret=desk.app["api_secret"], user_id="ZZ9999")
    code, said = desk.call(login, f"{desk.fresh_code()}\n")
    assert code == 1 and "this is SIM001 (Simulated Client)" in said and "ZZ9999" in said
    assert desk.values()["access_token"] == token, "another user's token is not kept"


def test_without_vault_or_broker_it_is_not_ready(desk: Desk, tmp_path: Path) -> None:
    code, said = desk.call(login, file=tmp_path / "none" / "x.vault")
    assert code == 3 and "kite-hft credentials makes it" in said
    code, said = desk.call(login, show=True, code=True)
    assert code == 2 and "exclude one another" in said
    words = json.loads(desk.config.read_text())
    words[desk.broker]["api_url"] = f"http://127.0.0.1:{free_port()}"
    desk.config.write_text(json.dumps(words))
    code, said = desk.call(login, "somecode1\n")
    assert code == 3 and "nothing listens there" in said and f"({desk.broker}.api_url)" in said


def test_upstoxs_other_ways(tmp_path: Path) -> None:
    """A redirect address that is not the registered one; the phone; tokens that are typed in."""
    notifier = f"http://127.0.0.1:{free_port()}/hook"
    with at_desk(tmp_path, "upstox", "--notifier-url", notifier) as desk:
        desk.put(redirect_url=f"{desk.redirect_url}/")
        code, said = desk.call(login, f"{desk.fresh_code()}\n")
        assert code == 1 and "letter for letter" in said, said
        code, said = desk.call(login, approve=True)
        assert code == 0 and notifier in said and desk.taken(), said
        good = desk.values()["access_token"]
        assert good not in said
        code, said = desk.call(login, "sandbox-token-1\n", sandbox=True, issued="2026-01-01")
        assert code == 1 and "has ended at 2026-01-31" in said and "sandbox_token" not in desk.values()
        assert desk.call(login, "sandbox-token-1\n", sandbox=True)[0] == 0
        assert desk.values()["sandbox_token"] == "sandbox-token-1"
        code, said = desk.call(login, "no-such-token\n", analytics=True)
        assert code == 1 and "UDAPI100050" in said and "analytics_token" not in desk.values()
        assert desk.call(login, f"{good}\n", analytics=True)[0] == 0
        assert desk.call(login, f"{good}\n", token=True)[0] == 0
        code, said = desk.call(login, show=True, as_json=True)
        rows = {row["token"]: row for row in json.loads(said)["tokens"]}
        assert code == 0 and set(rows) == {"access_token", "sandbox_token", "analytics_token"}
        assert rows["sandbox_token"]["left_s"] > 29 * 86_400
        assert rows["analytics_token"]["left_s"] > 364 * 86_400
        assert not rows["sandbox_token"]["orders"] and rows["access_token"]["orders"]


def test_kite_has_none_of_them_but_a_one_time_code_is_shown(tmp_path: Path) -> None:
    with at_desk(tmp_path, "kite") as desk:
        code, said = desk.call(login, approve=True)
        assert code == 1 and "no login by approval" in said
        code, said = desk.call(login, "sandbox-token-1\n", sandbox=True)
        assert code == 1 and "kite has no sandbox token" in said
        code, said = desk.call(login, code=True)
        assert code == 1 and "makes one factor of two" in said
        desk.put(totp_secret="GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
        code, said = desk.call(login, code=True, as_json=True)
        found = json.loads(said)
        assert code == 0 and len(found["code"]) == 6 and 1 <= found["left_s"] <= 30 and "GEZD" not in said


def test_a_running_engine_goes_on_with_the_login_of_the_day(tmp_path: Path) -> None:
    account = own("RELOGIN")
    with engine(tmp_path, account, "# nothing more\n") as made:
        made.until(lambda status: bool(status["state"]["state"] == "ACTIVE"))
        api = next(
            word for word in (tmp_path / "engine.out").read_text().split() if "http://127.0.0.1" in word
        )
        with urllib.request.urlopen(f"{api}/_sim/app", timeout=20) as answer:
            app = json.load(answer)
        there = Running(made.process, "", api, app["api_key"], "")
        desk = Desk(tmp_path, "kite", there, "")
        before = {row["name"]: row["pid"] for row in made.json("status")["processes"]}
        desk.console = CONSOLE
        said = desk.log_in("--account", account)
        assert f"kite-{account}: has the new token" in said and desk.taken()
        found = made.json("status")
        assert not found["state"]["token_dead"] and all(row["connected"] for row in found["connections"])
        assert {row["name"]: row["pid"] for row in found["processes"]} == before, "nothing was restarted"
        code, said = desk.call(logout)
        assert code == 1 and "--yes" in said and desk.taken()
        desk.put(api_key="another")
        assert desk.call(login, "some-other-token\n", token=True)[0] == 1
        assert not made.json("status")["state"]["token_dead"], "nobody's token reaches no engine"


def test_the_authenticator_logs_in_by_what_is_given_to_it(tmp_path: Path) -> None:
    with at_desk(tmp_path, "kite") as desk:
        said: list[str] = []
        keys = {"api_key": desk.app["api_key"], "api_secret": desk.app["api_secret"]}
        auth = KiteAuthenticator(
            **keys, api_url=desk.running.api, say=said.append,
            ask=lambda text: sent_to(next(line for line in said[-1].splitlines() if line.startswith("http"))),
        )  # fmt: skip
        with pytest.raises(NotAuthenticated):
            auth.get_access_token()
        assert auth.authenticate() is True and auth.user_id == "SIM001"
        token = auth.get_access_token()
        assert token and token not in repr(auth) + "".join(said)
        assert auth.authenticate() is True and auth.get_access_token() == token, "the token is still good"
        held = KiteAuthenticator(
            keys["api_key"], access_token=token, api_url=desk.running.api, say=said.append
        )
        assert held.authenticate() and held.get_access_token() == token
        wrong = KiteAuthenticator(keys["api_key"], "wrong", api_url=desk.running.api, say=said.append)
        assert wrong.authenticate(sent_to(wrong.login_url())) is False and "secret" in wrong.reason
        with pytest.raises(NotAuthenticated, match="secret"):
            wrong.get_access_token()
        other = KiteAuthenticator(**keys, user_id="ZZ9999", api_url=desk.running.api, say=said.append)
        assert other.authenticate(sent_to(other.login_url())) is False and "SIM001" in other.reason


def test_the_authenticator_shares_the_vault_with_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_desk(tmp_path, "kite") as desk:
        monkeypatch.setenv("KITE_HFT_VAULT", str(desk.vault))
        monkeypatch.setenv("KITE_MASTER_PASSWORD", "correct horse battery")
        auth = KiteAuthenticator(api_url=desk.running.api, say=lambda text: None)
        assert auth.authenticate(sent_to(auth.login_url()))
        assert desk.values()["access_token"] == auth.get_access_token()
        again = KiteAuthenticator(api_url=desk.running.api, say=lambda text: None)
        assert again.authenticate() and again.get_access_token() == auth.get_access_token()
