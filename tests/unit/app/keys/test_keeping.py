"""What becomes of a token: tried, kept or refused; a clock that is off is said."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kite_hft.app.keys import keeping
from kite_hft.app.keys.broker_calls import OtherPerson, Unreachable
from kite_hft.app.keys.keeping import keep_login
from kite_hft.brokers.kite.login import KITE_LOGIN
from kite_hft.brokers.login import Login, Person, TokenRefused

END_NS = 1_795_219_200 * 10**9  # 2026-11-21 05:30 IST


@dataclass
class Held:
    """A vault's section that remembers what was kept."""

    values: dict[str, str] = field(default_factory=lambda: {"api_key": "k", "user_id": "AB1234"})
    broker: str = "kite"
    profile: str = "default"
    section: str = "kite/default"

    def needed(self, name: str) -> str:
        return self.values[name]

    def keep(self, given: dict[str, str]) -> None:
        self.values.update(given)


def kept(
    monkeypatch: pytest.MonkeyPatch, answer: Person | Exception, got: Login, held: Held
) -> tuple[dict[str, str], list[str]]:
    def person_of(*_: object) -> Person:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(keeping, "person_of", person_of)
    said: list[str] = []
    return keep_login(held, KITE_LOGIN, "http://h", got, said.append), said  # type: ignore[arg-type]


def login(user_id: str = "AB1234", ahead_s: float | None = 0) -> Login:
    return Login("the-token", user_id, "A B", END_NS, ahead_s)


def test_a_token_is_kept_with_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    done, said = kept(monkeypatch, Person("AB1234", "A B"), login(), held)
    assert held.values["access_token"] == "the-token" and not said
    assert held.values["access_token_until"] == "2026-11-21T05:30:00+05:30" == done["until"]
    assert "the-token" not in str(done)


def test_a_users_id_is_learned_once_and_held_to_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held({"api_key": "k"})
    kept(monkeypatch, Person("AB1234", "A B"), login(), held)
    assert held.values["user_id"] == "AB1234"
    kept(monkeypatch, Person("ab1234", "A B"), login("ab1234"), held)
    for token_of, profile_of in (("CD5678", "AB1234"), ("AB1234", "CD5678"), ("", "CD5678")):
        before = dict(held.values)
        with pytest.raises(OtherPerson, match="this is CD5678"):
            kept(monkeypatch, Person(profile_of, "A B"), login(token_of), held)
        assert held.values == before


def test_a_token_that_the_broker_does_not_take_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    with pytest.raises(TokenRefused):
        kept(monkeypatch, TokenRefused("no"), login(), held)
    assert "access_token" not in held.values


def test_a_token_just_given_is_kept_though_it_could_not_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    _, said = kept(monkeypatch, Unreachable("no answer"), login(), held)
    assert held.values["access_token"] == "the-token" and "could not be tried" in said[0]
    with pytest.raises(Unreachable):  # a typed one is known to be good only by its trial
        kept(monkeypatch, Unreachable("no answer"), login(""), Held())


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(40, "40 s ahead of"), (-700, "700 s behind"), (3, ""), (None, "")]
)
def test_a_clock_that_is_off_is_said(
    monkeypatch: pytest.MonkeyPatch, ahead_s: float | None, words: str
) -> None:
    _, said = kept(monkeypatch, Person("AB1234", ""), login(ahead_s=ahead_s), Held())
    assert (words in said[0] and "timedatectl" in said[0]) if words else not said
