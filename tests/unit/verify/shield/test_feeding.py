"""Readers refuse the corpus, careless ones are found, and the corpus is as large as it says."""

from __future__ import annotations

import pytest

from kite_hft.verify.shield import corpus, corpus_places, feeding
from kite_hft.verify.shield.corpus_loaders import CARELESS, LOADERS


def test_each_part_of_the_corpus_has_its_kinds_and_no_name_twice() -> None:
    cheap = (corpus.pickles, corpus.wrapped, corpus.arrays, corpus.yamls, corpus.texts, corpus.nonsense)
    names = [name for part in cheap for name, _ in part()]
    assert len(names) == len(set(names)) > 190
    assert len([*corpus_places.places()]) >= 15 and len(LOADERS) >= 25


def test_a_damaged_file_is_never_what_it_was() -> None:
    whole = bytes(range(200))
    damaged = [data for _, data in corpus_places.damaged(whole)]
    assert len(damaged) > 15 and whole not in damaged


def test_readers_refuse_the_short_corpus() -> None:
    told, wrong = feeding.feed(["vault's state", "instrument cache", "snapshot"], short=True)
    assert wrong == [] and told["tried"] > 120 and told["refused"] == told["tried"]


def test_careless_readers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert feeding.controls() == []
    monkeypatch.setattr(feeding, "fed_to", lambda *a, **k: ([{"wrong": ""}], ""))
    assert len(feeding.controls()) == len(CARELESS)
