"""A journal that nobody reads."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from kite_hft.memory.journal import HEADER_BYTES, Kind
from kite_hft.memory.scrap import ScrapJournal


def test_it_has_no_name_and_begins_anew(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        scrap = ScrapJournal(tmp_path, held)
        assert not list(tmp_path.iterdir())
        for _ in range(3):
            assert scrap.journal.append(Kind.INTENT, 5, b"{}") == 1
            end = scrap.journal.end
            assert end > HEADER_BYTES and os.fstat(scrap.journal.write_at.args[0]).st_size == end
            scrap.forget()
        assert scrap.journal.end == HEADER_BYTES and scrap.journal.crc == scrap.journal.seed
