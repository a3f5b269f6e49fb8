"""The cache of instrument lists as a state machine: whatever is written, cut, flipped or left beside, a list
that is read is one that was kept under that name, and the newest one."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from master_tools import columns, share

from kite_hft.engine.plan.master_cache import (
    KEPT,
    Mark,
    MasterError,
    days_of,
    folder_of,
    load,
    newest_before,
    path_of,
    save,
)

DAYS = [dt.date(2026, 8, 3) + dt.timedelta(n) for n in range(14)]
days = st.sampled_from(DAYS)
sources = st.sampled_from(["kite", "upstox", "kite@127.0.0.1-8080"])


class Cache(RuleBasedStateMachine):
    """The model: (source, day) -> symbols of the list that lies there whole; None: something else."""

    @initialize()
    def begin(self) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.cache = Path(self.home.name)
        self.model: dict[tuple[str, dt.date], list[str] | None] = {}

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.cleanup()

    @rule(source=sources, day=days, n=st.integers(1, 4), word=st.sampled_from("ABC"))
    def keep(self, source: str, day: dt.date, n: int, word: str) -> None:
        made = columns(*(share(f"{word}{at}", at + 1) for at in range(n)))
        save(self.cache, Mark(source.partition("@")[0], source, day.isoformat(), 1, n, "00"), made)
        self.model[source, day] = list(made.symbol)
        of_source = sorted(d for s, d in self.model if s == source)
        for old in of_source[:-KEPT]:
            del self.model[source, old]

    @rule(source=sources, day=days, part=st.floats(0, 1, exclude_max=True))
    def cut(self, source: str, day: dt.date, part: float) -> None:
        path = path_of(self.cache, source, day)
        if path.exists():
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * part)])
            self.model[source, day] = None

    @rule(source=sources, day=days, at=st.integers(0, 10**6), bit=st.integers(0, 7))
    def flip(self, source: str, day: dt.date, at: int, bit: int) -> None:
        path = path_of(self.cache, source, day)
        if self.model.get((source, day)) is not None:
            data = bytearray(path.read_bytes())
            data[at % len(data)] ^= 1 << bit
            path.write_bytes(data)
            self.model[source, day] = None

    @rule(source=sources, day=days, other=days)
    def rename(self, source: str, day: dt.date, other: dt.date) -> None:
        """Yesterday's file under today's name."""
        if day != other and (source, day) in self.model:
            path_of(self.cache, source, day).rename(path_of(self.cache, source, other))
            del self.model[source, day]
            self.model[source, other] = None

    @rule(source=sources, day=days)
    def die_while_writing(self, source: str, day: dt.date) -> None:
        folder_of(self.cache).mkdir(parents=True, exist_ok=True)
        (folder_of(self.cache) / f".{source}-{day}.arrow.1-dead").write_bytes(b"half")

    @invariant()
    def what_is_read_was_kept(self) -> None:
        if not hasattr(self, "cache"):
            return
        for source in {source for source, _ in self.model}:
            known = sorted(day for s, day in self.model if s == source)
            assert [day for day, _ in days_of(self.cache, source)] == known
            for day in known:
                expected = self.model[source, day]
                try:
                    found = list(load(path_of(self.cache, source, day))[1].symbol)
                except MasterError:
                    assert expected is None, "a whole list was refused"
                else:
                    assert found == expected
            whole = [day for day in known[:-1] if self.model[source, day] is not None]
            before = newest_before(self.cache, source, known[-1])
            assert (before[0].day if before else None) == (whole[-1].isoformat() if whole else None)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
