"""Layer 5, worker process, cold: closed bars on the disk, if somebody wants them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from kite_hft.strategies.intents import Records

STAGED_BYTES: Final = 1 << 20


class BarFile:
    """Closed bars as they come, one BAR record after another.

    failed(name, why): told once when the disk takes no more. From then on nothing is written: prices and
    strategies go on. length: bytes to keep of a file that is there already; None: all.
    """

    def __init__(self, path: Path, failed: Callable[[str, str], None], length: int | None = None) -> None:
        self._name, self._failed = path.name, failed
        self._staged, self._length = bytearray(), length or 0
        self._file: FileIO | None = None
        with self._telling():
            self._file = FileIO(path, "ab")
            if length is not None:
                self._file.truncate(length)
            self._length = path.stat().st_size

    def write(self, closed: Records) -> None:
        """Stage them."""
        if self._file is not None:
            self._staged += closed.tobytes()
            if len(self._staged) >= STAGED_BYTES:
                self.length()

    def length(self) -> int:
        """Bytes so far, all of them handed to the kernel."""
        if self._file is not None and self._staged:
            with self._telling():
                rest = memoryview(bytes(self._staged))
                while rest:
                    rest = rest[self._file.write(rest) :]
                self._length += len(self._staged)
            self._staged.clear()
        return self._length

    def close(self) -> None:
        """Hand over what is staged."""
        self.length()
        if self._file is not None:
            self._file.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """A failure ends the file: whole records stay."""
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError):
                    file.truncate(self._length)
                file.close()
            self._failed(self._name, error.strerror or str(error))
