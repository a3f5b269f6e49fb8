"""`kite-hft credentials`: by lines of standard input, and by a person at prompts."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner
from vault_tools import PASSWORD, place, quick

from kite_hft.app.keys import asking, credentials
from kite_hft.engine.keys import password
from kite_hft.engine.keys.vault import create, read, status
from kite_hft.verify.keys.creds import OLD_CONTENTS, OLD_PASSWORD, OLD_SALT, OLD_TOKEN

MASTER = f"master_password={PASSWORD.decode()}\n"
SECRETS = ("key-0001", "secret-0002", "token-0003", PASSWORD.decode())


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick(monkeypatch)
    for name in ("KITE_MASTER_PASSWORD", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(password, "from_keyring", lambda: b"")
    monkeypatch.setattr(credentials, "harden_process", lambda: None)
    monkeypatch.setenv("KITE_HFT_VAULT", str(place(tmp_path)))
    return place(tmp_path)


def run(*words: str, stdin: str = "", code: int = 0) -> str:
    app = typer.Typer()
    app.command()(credentials.credentials)
    done = CliRunner().invoke(app, list(words), input=stdin)
    assert done.exit_code == code, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not any(secret in done.output for secret in SECRETS)
    return done.output


def filled(path: Path) -> Path:
    run("--kdf", "pbkdf2", stdin=f"{MASTER}api_key=key-0001\napi_secret=secret-0002\n")
    return path


def test_a_script_makes_a_vault_and_adds_to_it(path: Path) -> None:
    assert "api_key, api_secret" in run(
        "--kdf", "pbkdf2", stdin=f"{MASTER}api_key=key-0001\napi_secret=secret-0002\n"
    )
    run(
        "--broker",
        "upstox",
        "--profile",
        "two",
        stdin=f"{MASTER}access_token=token-0003\nKITE_USER_ID=AB1234\n",
    )
    assert read(path, PASSWORD) == {
        "kite/default": {"api_key": "key-0001", "api_secret": "secret-0002"},
        "upstox/two": {"access_token": "token-0003"},
        "kite/two": {"user_id": "AB1234"},
    }
    assert status(path).kdf == "pbkdf2"


def test_new_vaults_are_argon2id(path: Path) -> None:
    run(stdin=f"{MASTER}api_key=key-0001\n")
    assert status(path).kdf == "argon2id"


def test_one_value(path: Path) -> None:
    filled(path)
    run("--set", "access_token", stdin=f"{MASTER}token-0003\n")
    assert read(path, PASSWORD)["kite/default"]["access_token"] == "token-0003"
    run("--remove", "access_token", stdin=MASTER)
    assert "access_token" not in read(path, PASSWORD)["kite/default"]
    assert "it has api_key, api_secret" in run("--remove", "access_token", stdin=MASTER, code=1)


@pytest.mark.parametrize(
    ("words", "stdin", "code", "told"),
    [
        (["--set", "apikey"], f"{MASTER}x\n", 2, "did you mean api_key"),
        (["--set", "api_key"], MASTER, 2, "no value was given"),
        (["--set", "api_key"], f"{MASTER}two words\n", 2, "one word"),
        (["--set", "totp_secret"], f"{MASTER}X\n", 2, "--login-secrets"),
        (["--set", "api_key"], "master_password=not the right one\nx\n", 1, "password is wrong"),
        (["--set", "api_key"], "x\n", 1, "or begin with a line master_password="),
        (["--set", "api_key"], f'{MASTER}"key"\n', 2, "the quotes round it"),
        ([], f"{MASTER}api_secret='secret'\n", 2, "the quotes round it"),
        ([], f"{MASTER}api_key: key-0001\n", 2, "line 2 of standard input is no NAME=VALUE"),
        (["--status", "--reset"], "", 2, "one at a time"),
        (["--names"], "", 2, "--names goes with --status"),
        (["--json"], "", 2, "gave no value"),
        (["--kdf", "md5"], "", 2, "argon2id"),
        (["--broker", "zerodha"], MASTER, 2, "kite or upstox"),
        (["--reset"], "reset\n", 2, "add --yes"),
        ([], MASTER, 2, "gave no value"),
        (["--rotate"], f"{MASTER}new_master_password=short\n", 1, "at least 10"),
        (["--rotate"], MASTER, 1, "needs its master password"),
        (["--import", "/nowhere/.env"], MASTER, 1, "No such file"),
    ],
)
def test_what_is_refused_changes_nothing(
    path: Path, words: list[str], stdin: str, code: int, told: str
) -> None:
    before = filled(path).read_bytes()
    assert told in " ".join(run(*words, stdin=stdin, code=code).split())
    assert path.read_bytes() == before


def test_a_vault_is_not_made_with_a_weak_password(path: Path) -> None:
    assert "at least 10" in run(stdin="master_password=short\napi_key=key-0001\n", code=1)
    assert not path.exists()


def test_the_line_that_is_given_counts_before_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    monkeypatch.setenv("KITE_MASTER_PASSWORD", "of some other vault")
    told = run("--set", "user_id", stdin=f"{MASTER}AB1234\n")
    assert "user_id is in" in told and "KITE_MASTER_PASSWORD" not in told
    assert "KITE_MASTER_PASSWORD" in run("--set", "user_id", stdin="CD5678\n", code=1)
    assert read(path, PASSWORD)["kite/default"]["user_id"] == "AB1234"


def test_a_line_that_is_not_understood_is_told_by_its_number(path: Path) -> None:
    told = run("--kdf", "pbkdf2", stdin=f"{MASTER}# keys\napi_key=key-0001\n\napi_secret = secret-0002\n")
    assert "left out: line 5 of standard input is no NAME=VALUE (without blanks before the =)" in told
    assert set(read(path, PASSWORD)["kite/default"]) == {"api_key"}


def test_another_master_password(path: Path) -> None:
    filled(path)
    run("--rotate", "--kdf", "scrypt", stdin=f"{MASTER}new_master_password=another horse\n")
    assert status(path).kdf == "scrypt"
    assert read(path, b"another horse")["kite/default"]["api_key"] == "key-0001"


def test_reset_deletes(path: Path) -> None:
    filled(path)
    run("--reset", "--yes")
    assert not path.exists()
    assert "makes it" in run("--reset", "--yes", code=1)


def test_status_needs_no_password_and_tells_no_secret(path: Path) -> None:
    assert json.loads(run("--status", "--json", code=1)) == {"file": str(path), "exists": False}
    filled(path)
    assert "PBKDF2" in run("--status")
    assert json.loads(run("--status", "--json"))["contents"] is None


def test_import_keeps_what_is_there(path: Path, tmp_path: Path) -> None:
    filled(path)
    env = tmp_path / ".env"
    env.write_text("KITE_API_KEY=other\nKITE_USER_ID=AB1234\nKITE_PASSWORD=pw\n")
    env.chmod(0o644)
    told = run("--import", str(env), stdin=MASTER)
    assert "kept: kite/default api_key" in told and "left out: KITE_PASSWORD" in told and "0644" in told
    assert "shred" in told
    assert read(path, PASSWORD)["kite/default"] == {
        "api_key": "key-0001", "api_secret": "secret-0002", "user_id": "AB1234"
    }  # fmt: skip


def test_an_older_file_is_sealed_anew(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "credentials.encrypted"
    old.write_bytes(OLD_TOKEN)
    (tmp_path / ".salt").write_bytes(OLD_SALT)
    run("--import", str(old), stdin=f"{MASTER}old_master_password=wrong\n", code=1)
    assert not path.exists()
    run("--import", str(old), stdin=f"{MASTER}old_master_password={OLD_PASSWORD.decode()}\n")
    assert read(path, PASSWORD) == OLD_CONTENTS and status(path).kdf == "argon2id"
    told = run("--import", str(old), "--profile", "all", "--login-secrets",
               stdin=f"{MASTER}old_master_password={OLD_PASSWORD.decode()}\n")  # fmt: skip
    assert "both factors" in told and "totp_secret" in read(path, PASSWORD)["kite/all"]


# A person at prompts


@pytest.fixture
def typing(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers the prompts with these words; an exception among them is raised there."""

    def answer_with(*words: Any) -> list[str]:
        answers: Iterator[Any] = iter(words)
        asked: list[str] = []

        def answer(text: str) -> str:
            asked.append(text)
            word = next(answers)
            if isinstance(word, BaseException):
                raise word
            return str(word)

        monkeypatch.setattr(getpass, "getpass", answer)
        monkeypatch.setattr("builtins.input", answer)
        return asked

    monkeypatch.setattr(credentials, "asking", lambda value_of="": asking.Asking())
    return answer_with


NEW = (PASSWORD.decode(), PASSWORD.decode())


def test_the_first_hour(path: Path, typing: Any) -> None:
    asked = typing(*NEW, "key-0001", "secret-0002", "AB1234", "", "upstox/two", "u", "s", "", "", "", "", "")
    told = run("--kdf", "pbkdf2")
    assert read(path, PASSWORD) == {
        "kite/default": {"api_key": "key-0001", "api_secret": "secret-0002", "user_id": "AB1234"},
        "upstox/two": {"api_key": "u", "api_secret": "s"},
    }
    assert "kite-hft login" in told and not any("password of" in text or "TOTP" in text for text in asked)
    again = typing(PASSWORD.decode(), "", "", "", "", "")
    assert "nothing was changed" in run()
    assert any("[set]" in text for text in again)


@pytest.mark.parametrize("at", range(8))
def test_ctrl_c_at_any_prompt_changes_nothing(path: Path, typing: Any, at: int) -> None:
    words: list[Any] = [*NEW, "key-0001", "secret-0002", "AB1234", "", "upstox", "u"]
    typing(*words[:at], KeyboardInterrupt())
    assert "nothing was changed" in run(code=130)
    assert not path.exists()
    create(path, PASSWORD, {"kite/default": {"api_key": "k"}}, "pbkdf2")
    before = path.read_bytes()
    words = [PASSWORD.decode(), *words[2:]]
    typing(*words[: min(at, 6)], EOFError() if at % 2 else KeyboardInterrupt())
    assert "nothing was changed" in run(code=1 if at % 2 else 130)
    assert path.read_bytes() == before


def test_a_wrong_password_is_told_before_anything_else_is_asked(path: Path, typing: Any) -> None:
    filled_before = create(path, PASSWORD, {"kite/default": {"api_key": "k"}}, "pbkdf2")
    assert filled_before is None
    for words in ((), ("--set", "api_secret"), ("--rotate",)):
        asked = typing("not the right one")
        assert "password is wrong" in run(*words, code=1)
        assert len(asked) == 1
