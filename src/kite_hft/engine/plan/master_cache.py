"""Layer 5, supervisor and verbs, cold: an instrument list on the disk, as it was on its day.

A file is one Arrow stream (`pyarrow.ipc.open_stream` reads it) and behind it 56 bytes that prove it:

    magic 8 | rows u64 | bytes of the stream u64 | SHA-256 of all before 32

It is written beside its place, synced, and moved there: a reader sees the old file or the new one. A file
that does not prove itself (half-written, a bit flipped, another day's under this day's name) is refused with
what to do. The folder keeps the last days, for what changed since yesterday.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import re
import secrets
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kite_hft.engine.plan.session import SessionError
from kite_hft.plain import DATA_BYTES_MAX, plain_bytes
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import NUMBERS, TEXTS, WORDS, Columns, Words

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC: Final = b"KHFTLST1"
_TAIL: Final = struct.Struct("<8sQQ")
TAIL_BYTES: Final = _TAIL.size + hashlib.sha256().digest_size
META: Final = b"kite_hft"
KEPT: Final = 10
"""Files of one list that stay; older ones go."""
_DAY: Final = re.compile(r"-(\d{4}-\d{2}-\d{2})\.arrow")


class MasterError(SessionError):
    """An instrument list that is not used; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a list comes from. source: `broker`, or `broker@host-port` of another server than the broker's
    own.
    day: of India when it was fetched. sha256: of what the server sent. accepted: an operator took it although
    its size had changed so much.
    """

    broker: str
    source: str
    day: str
    fetched_real_ns: int
    rows: int
    sha256: str
    accepted: bool = False


def cache_dir(environ: Mapping[str, str]) -> Path:
    """$XDG_CACHE_HOME, by default ~/.cache."""
    base = Path(environ.get("XDG_CACHE_HOME") or "")
    return base if base.is_absolute() else Path.home() / ".cache"


def folder_of(cache: Path) -> Path:
    """Where the lists lie below a cache folder."""
    return cache / "kite_hft" / "masters"


def path_of(cache: Path, source: str, day: dt.date) -> Path:
    return folder_of(cache) / f"{source}-{day.isoformat()}.arrow"


def days_of(cache: Path, source: str) -> list[tuple[dt.date, Path]]:
    """The lists of a source, oldest first."""
    found = []
    for path in folder_of(cache).glob(f"{source}-*.arrow"):
        if (named := _DAY.fullmatch(path.name, len(source))) is None:
            continue
        with contextlib.suppress(ValueError):
            found.append((dt.date.fromisoformat(named[1]), path))
    return sorted(found)


def newest_before(cache: Path, source: str, day: dt.date) -> tuple[Mark, Columns] | None:
    """The newest whole list of an earlier day; None: there is none."""
    for _day, path in reversed([row for row in days_of(cache, source) if row[0] < day]):
        with contextlib.suppress(MasterError):
            return load(path)
    return None


def save(cache: Path, mark: Mark, columns: Columns) -> Path:
    """Write a list to its place, whole or not at all; returns the place.

    Raises:
        MasterError: it cannot be written.
    """
    path = path_of(cache, mark.source, dt.date.fromisoformat(mark.day))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(packed(mark, columns))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for _day, old in days_of(cache, mark.source)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise MasterError(
            f"the instrument list cannot be kept in {path.parent}: {error.strerror or error}; make room "
            "there, or set "
            "XDG_CACHE_HOME to a folder of yours"
        ) from error
    return path


def packed(mark: Mark, columns: Columns) -> bytes:
    """The bytes of a file."""
    import pyarrow as pa

    arrays: dict[str, Any] = {
        name: pa.array(getattr(columns, name), pa.from_numpy_dtype(kind)) for name, kind in NUMBERS.items()
    }
    for name in WORDS:
        words: Words = getattr(columns, name)
        arrays[name] = pa.DictionaryArray.from_arrays(
            pa.array(words.codes), pa.array(words.words, pa.string())
        )
    arrays |= {name: pa.array(getattr(columns, name), pa.string()) for name in TEXTS}
    batch = pa.RecordBatch.from_pydict(arrays, metadata={META: msgspec.json.encode(asdict(mark))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    body += _TAIL.pack(MAGIC, len(columns), len(body))
    return body + hashlib.sha256(body).digest()


def load(path: Path) -> tuple[Mark, Columns]:
    """A list that proves itself.

    Raises:
        MasterError: missing, half-written, damaged, or not what its name says.
    """
    fix = "remove it and fetch the list again: kite-hft instruments refresh"
    try:
        data = plain_bytes(path, DATA_BYTES_MAX)
    except FileNotFoundError:
        raise MasterError(f"{path}: no such list: kite-hft instruments refresh") from None
    except OSError as error:
        raise MasterError(f"{path}: cannot be read: {error.strerror}; {fix}") from error
    body, tail = data[: len(data) - TAIL_BYTES], data[-TAIL_BYTES:]
    if len(data) <= TAIL_BYTES or not tail.startswith(MAGIC):
        raise MasterError(f"{path}: half-written: its end is missing; {fix}")
    _magic, rows, length = _TAIL.unpack_from(tail)
    if (
        length != len(body)
        or hashlib.sha256(data[: -hashlib.sha256().digest_size]).digest() != tail[_TAIL.size :]
    ):
        raise MasterError(f"{path}: damaged: its SHA-256 is another; {fix}")
    try:
        mark, columns = _unpacked(body)
    except (ValueError, KeyError, TypeError, InstrumentError, msgspec.MsgspecError) as error:
        raise MasterError(f"{path}: cannot be read by this version ({error}); {fix}") from error
    if not (rows == mark.rows == len(columns) > 0):
        raise MasterError(f"{path}: says {rows:,} rows and has {len(columns):,}; {fix}")
    if path.name != f"{mark.source}-{mark.day}.arrow":
        raise MasterError(f"{path}: holds the list of {mark.source} of {mark.day}; {fix}")
    return mark, columns


def _unpacked(body: bytes) -> tuple[Mark, Columns]:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(body)) as stream:
        table = stream.read_all().combine_chunks()
    mark = msgspec.json.decode((table.schema.metadata or {})[META], type=Mark)
    made: dict[str, Any] = {
        name: np.asarray(_chunk(table, name).to_numpy(zero_copy_only=True), kind)
        for name, kind in NUMBERS.items()
    }
    for name in WORDS:
        found = _chunk(table, name)
        made[name] = Words(found.indices.to_numpy(), tuple(found.dictionary.to_pylist()))
    made |= {name: _chunk(table, name).to_pylist() for name in TEXTS}
    return mark, Columns(**made)


def _chunk(table: pa.Table, name: str) -> Any:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
