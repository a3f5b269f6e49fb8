"""A journal that is cut off, recovered and gone on with, again and again: never less than what was synced,
never more than what was written."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.memory.journal import Header, Kind, scan
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.verify.journal.disk import Disk, Op, states, window_at

HEADER = Header(build=1, config=2, created_real_ns=3)
DOINGS = st.lists(st.one_of(st.integers(1, 1500), st.just("sync"), st.just("cut")), min_size=1, max_size=60)


class Life:
    """One file over several processes and power cuts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = Disk()
        self.writer = JournalWriter(self.disk, header=HEADER)
        self.written: list[bytes] = []
        self.synced = 0  # records

    def append(self, size: int) -> None:
        payload = self.random.randbytes(size)
        self.writer.append(Kind.REPORT, len(self.written), payload)
        self.written.append(payload)

    def sync(self) -> None:
        self.synced = self.writer.sync()

    def cut(self) -> None:
        """The power goes; another process goes on with what is left."""
        pending: list[Op] = []
        durable = self.disk.on_disk
        for op in self.disk.log:
            pending = [] if op.what == "begin" else [*pending, op] if op.what == "write" else pending
        window = window_at(bytes(self.disk.data[:durable]), pending, self.random.randbytes(64))
        left = self.random.choice(list(states(window, 16, self.random)))
        found = scan(left)
        n = len(found.records)
        assert found.tail != "corrupt", found.detail
        assert self.synced <= n <= len(self.written)
        assert [record.payload for record in found.records] == self.written[:n]
        self.disk = Disk(data=bytearray(left[: found.end]), on_disk=found.end)
        self.writer = JournalWriter(self.disk, resume=scan(left[: found.end]))
        del self.written[n:]
        self.synced = n


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), DOINGS)
def test_generations(seed: int, doings: list[int | str]) -> None:
    life = Life(seed)
    for doing in [*doings, "cut", "sync", "cut"]:
        if isinstance(doing, int):
            life.append(doing)
        elif doing == "sync":
            life.sync()
        else:
            life.cut()
