"""Layer 1, orders process, hot between orders: a journal that nobody reads, for rehearsals.

A file without a name beside the real one: its records take the same way through the kernel, stand all at the
same place, and are gone with the process.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from kite_hft.memory.journal import HEADER_BYTES, Header
from kite_hft.memory.journal_writer import JournalWriter


class ScrapJournal:
    """journal: takes records as the real one does. It ends with `held`.

    Raises:
        OSError: no file can be made in `folder`. JournalError: it cannot be written.
    """

    def __init__(self, folder: Path, held: contextlib.ExitStack) -> None:
        fd, name = tempfile.mkstemp(dir=folder)
        held.callback(os.close, fd)
        os.unlink(name)
        self.journal = JournalWriter(fd, header=Header(0, 0, 0))

    def forget(self) -> None:
        """The next record stands where the first one stood."""
        writer = self.journal
        writer.next_seq, writer.end, writer.crc = 1, HEADER_BYTES, writer.seed
