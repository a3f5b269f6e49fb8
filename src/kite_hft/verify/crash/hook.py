"""Layer 6, all processes of a campaign's engine, hot there: crash points where Python calls the system.

`install` is called by a `sitecustomize.py` that `verify crash` puts into a folder of its own, first on
the path of the engine that it starts; nothing else imports this file. It lets the compiled modules
with points be loaded in place of the product's, and wraps what the engine's modules call: journal
file, sockets, csv files, control pipes, kill latch. The engine's code knows nothing of it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from kite_hft.verify.crash.points import AREA, MODULES, WRAPPED, Area

Wrap = Callable[[Any, Area], None]
Spec = importlib.machinery.ModuleSpec
N: Final = WRAPPED
JOURNAL: Final = "journal.bin"
TORN_HEAD_BYTES: Final = 20  # half of a record's head


class Finder:
    """Finds the compiled modules with points, and wraps others as soon as they are loaded."""

    def __init__(self, built: dict[str, Path], area: Area) -> None:
        self._built, self._area = built, area

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> Spec | None:
        """As sys.meta_path wants it."""
        if name in self._built:
            return importlib.util.spec_from_file_location(name, self._built[name])
        if name not in WRAPS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            loader, wrap = spec.loader, WRAPS[name]
            load = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                wrap(module, self._area)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class Around(ModuleType):
    """A module as another one sees it: some of its calls are wrapped, the others are its own."""

    def __init__(self, real: ModuleType, **wrapped: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(vars(real) | wrapped)


def around(call: Callable[..., Any], area: Area, before: int = 0, after: int = 0) -> Callable[..., Any]:
    """The same call between two points (0: none)."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            area.at(before)
        found = call(*arguments, **named)
        if after:
            area.at(after)
        return found

    return wrapped


class File:
    """A journal's file: one write is one record (or the header)."""

    def __init__(self, plain: Any, area: Area) -> None:
        self._plain, self._area = plain, area

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def write_at(self, data: bytes, offset: int) -> int:
        """Before, cut short in the head or at the last byte, after."""
        self._area.at(N["journal_write_before"])
        for name, size in (("torn_head", TORN_HEAD_BYTES), ("torn_payload", len(data) - 1)):
            number = N[f"journal_write_{name}"]
            if self._area.due(number):
                self._plain.write_at(data[:size], offset)
                self._area.die(number)
        written: int = self._plain.write_at(data, offset)
        self._area.at(N["journal_write_after"])
        return written

    def sync(self) -> None:
        """Before, after."""
        self._area.at(N["journal_sync_before"])
        self._plain.sync()
        self._area.at(N["journal_sync_after"])


def journal_file(module: Any, area: Area) -> None:
    """The file of the run's journal; not the scrap that keeps the order path warm, which nobody reads."""
    plain = module.OsFile

    def os_file(fd: int) -> Any:
        kept = Path(f"/proc/self/fd/{fd}").readlink().name == JOURNAL
        return File(plain(fd), area) if kept else plain(fd)

    module.OsFile = os_file


def sockets(module: Any, area: Area) -> None:
    """Sends and receipts of a transport: of order calls, and of reads."""
    sockets_of_it: Any = module.socket

    class Wire(sockets_of_it.socket):  # type: ignore[misc]
        calls = ""  # what is under way: an order call, or a read

        def connect_ex(self, address: Any) -> int:
            area.at(N["connect_before"])
            found: int = super().connect_ex(address)
            area.at(N["connect_after"])
            return found

        def send(self, data: Any, flags: int = 0) -> int:
            verb = bytes(data[:8]).partition(b" ")[0]
            if verb in (b"POST", b"PUT", b"DELETE", b"GET"):
                self.calls = "book" if verb == b"GET" else "order"
            if not self.calls:
                return int(super().send(data, flags))
            area.at(N[f"{self.calls}_send_before"])
            if self.calls == "order" and area.due(N["order_send_part"]):
                super().send(data[: len(data) // 2], flags)
                area.die(N["order_send_part"])
            sent: int = super().send(data, flags)
            area.at(N[f"{self.calls}_send_after"])
            return sent

        def recv(self, size: int, flags: int = 0) -> bytes:
            if flags or not self.calls:
                return bytes(super().recv(size, flags))
            area.at(N[f"{self.calls}_answer_before"])
            data: bytes = super().recv(size, flags)
            area.at(N[f"{self.calls}_answer_after"])
            return data

    module.socket = Around(sockets_of_it, socket=Wire)


class Rows:
    """The file of a csv sink."""

    def __init__(self, file: Any, area: Area) -> None:
        self._file, self._area = file, area

    def write(self, data: bytes) -> int:
        """One row with one call."""
        self._area.at(N["csv_before"])
        if self._area.due(N["csv_part"]):
            self._file.write(data[: len(data) // 2])
            self._area.die(N["csv_part"])
        written: int = self._file.write(data)
        self._area.at(N["csv_after"])
        return written


def csv_files(module: Any, area: Area) -> None:
    """orders.csv, trades.csv, evidence.csv."""
    plain = module.csv_sink

    def csv_sink(file: Any, *arguments: Any, **named: Any) -> Any:
        return plain(Rows(file, area), *arguments, **named)

    module.csv_sink = csv_sink


def _os(**calls: tuple[str, str]) -> Wrap:
    """Wraps calls of `os` in one module: name -> (point before, point after), "": none."""

    def wrap(module: Any, area: Area) -> None:
        made = {
            name: around(getattr(os, name), area, N.get(before, 0), N.get(after, 0))
            for name, (before, after) in calls.items()
        }
        module.os = Around(os, **made)

    return wrap


WRAPS: Final[dict[str, Wrap]] = {
    "kite_hft.memory.journal_writer": journal_file,
    "kite_hft.memory.journal_files": _os(
        pwrite=("reopen_before", "reopen_rewrite_after"), fdatasync=("", "reopen_sync_after"),
        ftruncate=("tail_cut_before", "tail_cut_after"),
    ),
    "kite_hft.memory.snapshots": _os(
        pwritev=("snapshot_before", "snapshot_after"), pwrite=("snapshot_before", "snapshot_after")
    ),
    "kite_hft.net.connection": sockets,
    "kite_hft.engine.orders.files": csv_files,
    "kite_hft.engine.processes.control": _os(read=("control_read_before", "control_read_after")),
    "kite_hft.engine.processes.children": _os(write=("control_write_before", "control_write_after")),
    "kite_hft.engine.orders.books": _os(writev=("shelf_before", "shelf_after")),
    "kite_hft.engine.orders.latch": _os(
        write=("latch_write_before", "latch_write_after"), link=("", "latch_replace_after"),
        replace=("", "latch_replace_after"), fsync=("", "latch_sync_after"),
    ),
}  # fmt: skip


def install() -> None:
    """Begin, in a process of the campaign; without its environment nothing is done."""
    area, modules = os.environ.get(AREA), os.environ.get(MODULES)
    if area and modules:
        built = {f"kite_hft.{path.name.partition('.')[0]}": path for path in Path(modules).glob("_*.so")}
        sys.meta_path.insert(0, Finder(built, Area(Path(area))))
