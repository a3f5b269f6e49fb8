"""Layer 6, by hand, cold: `kite-hft convert`: recorded rows as one Parquet file.

The file has no name until it is whole (O_TMPFILE), so that nothing is left of a conversion that
fails or is killed, and nothing that exists is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kite_hft.app import tables
from kite_hft.app.picture import JsonOption, print_json, told
from kite_hft.engine.runs.live import Terminal
from kite_hft.engine.runs.runs import NoRun
from kite_hft.memory.recording import Kind, RecordingError, file_name
from kite_hft.memory.recording_rows import RowFile
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv

SUFFIX: Final = ".parquet"
INSTRUMENTS: Final = "instruments.csv"
NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ROWS_GLOB: Final = file_name(Kind.ROWS, 0).replace("0", "*")


def convert(
    source: Annotated[
        Path, typer.Argument(help="A run folder (all its connections, merged), or one ticks-*.rec.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The Parquet file, which must not exist yet.",
            show_default="ticks.parquet in the run folder, or beside the recording",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert recorded ticks to a Parquet file for pandas, polars or DuckDB.

    One row per tick in order of time; prices in rupees, times of India, null for what a tick did
    not carry. Gaps that the recorder counted stand in the file's metadata (kite_hft.gaps).

    Exit codes: 0 converted, 1 no recording, no room, or the output exists: nothing is left behind then.
    """
    with told("convert"):
        began_s = time.monotonic()
        target = out or default_target(source)
        try:
            rows, lost = run(source, target)
        except (RecordingError, InstrumentError) as error:
            raise NoRun(str(error)) from None
        size, seconds = target.stat().st_size, time.monotonic() - began_s
        if as_json:
            return print_json(
                {"file": str(target), "rows": rows, "lost": lost, "bytes": size, "seconds": round(seconds, 3)}
            )
        console = tables.console()
        console.print(
            f"{target}: {rows:,} rows in {seconds:.1f} s, {size:,} bytes ({size / max(1, rows):.1f} a row)",
            highlight=False,
            soft_wrap=True,
        )
        if lost:
            console.print(
                f"{lost:,} rows are missing, as the recorder counted: kite_hft.gaps", highlight=False
            )


def default_target(source: Path) -> Path:
    """Where the output goes unless it is named."""
    return source / f"ticks{SUFFIX}" if source.is_dir() else source.with_suffix(SUFFIX)


def run(source: Path, target: Path) -> tuple[int, int]:
    """Convert; (rows written, rows that are missing in the recordings).

    Raises:
        NoRun: the target exists, or the disk is full; says what to do.
        RecordingError: no recording, or one that cannot be read.
        InstrumentError: its instruments.csv cannot be read.
        OSError: the target cannot be written.
    """
    from kite_hft.app.files import (
        parquet_file,  # half a second of pyarrow, which the other verbs need not wait for
    )

    if target.exists():
        raise NoRun(f"{target} exists; name another file, or remove it")
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(RowFile(path)) for path in recordings(source)]
        instruments = instruments_of(files)
        total = sum(file.count for file in files)
        shown = stack.enter_context(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
                TimeRemainingColumn(),
                console=Terminal(stderr=True),
                transient=True,
                disable=not Terminal(stderr=True).is_terminal,
            )
        )
        task = shown.add_task("converting", total=total)
        with new_file(target) as sink:
            rows = parquet_file.write(
                sink, files, instruments, lambda done: shown.update(task, completed=done)
            )
    return rows, sum(gap.lost for file in files for gap in file.gaps)


def recordings(source: Path) -> list[Path]:
    """The recordings that `source` means.

    Raises:
        NoRun: there is none.
    """
    if source.exists() and not source.is_dir() and not source.is_file():
        raise NoRun(f"{source} is neither a file nor a folder; name a run folder, or one ticks-*.rec")
    if not source.is_dir():
        return [source]
    found = sorted(source.glob(_ROWS_GLOB), key=lambda path: (len(path.name), path.name))
    if found:
        return found
    if any(source.glob(file_name(Kind.FRAMES, 0).replace("0", "*"))):
        raise NoRun(
            f"{source} holds raw frames only; rows come from datafeed.tick_storage_format: binary or both"
        )
    raise NoRun(f"{source} holds no recorded rows; the engine makes them with datafeed.store_ticks: true")


def instruments_of(files: list[RowFile]) -> InstrumentTable:
    """The instrument list beside the recordings, which must be the one that they were made with.

    Raises:
        RecordingError: it is another one, or missing.
        InstrumentError: it cannot be read.
    """
    path = files[0].path.parent / INSTRUMENTS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecordingError(
            f"{path}: {error.strerror}; a recording needs its instrument list beside it, for names and prices"
        ) from error
    for file in files:
        if file.origin.instruments != digest:
            raise RecordingError(f"{file.path}: was recorded with another {INSTRUMENTS} than the one here")
    return read_csv(path)


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that gets its name when all went well, and otherwise is gone.

    Raises:
        NoRun: no room on the disk, or the name was taken meanwhile.
    """
    folder = target.parent
    try:
        with _nameless(folder) as (sink, name):
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
            _name(name, target)
    except FileExistsError:
        raise NoRun(f"{target} exists by now; nothing was written") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        free = shutil.disk_usage(folder).free
        raise NoRun(
            f"no room in {folder} ({error.strerror or 'disk full'}; {free:,} bytes are free): nothing is "
            "left behind; a row takes about 24 bytes, name a file on another disk"
        ) from None


def _name(path: str, target: Path) -> None:
    """Link the file at `path` to `target`, which must not exist."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a directory given Python uses linkat, which follows /proc/self/fd; plain link does not.
        os.link(path, target.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _nameless(folder: Path) -> Iterator[tuple[IO[bytes], str]]:
    """(a new file in `folder`, the path by which it can be linked)."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
            raise
    else:
        with os.fdopen(fd, "wb") as sink:
            yield sink, f"/proc/self/fd/{fd}"
        return
    path = folder / f".convert-{os.getpid()}"  # a file system that cannot do without a name
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as sink:
            yield sink, str(path)
    finally:
        path.unlink(missing_ok=True)
