"""Layer 0, every process and the build, cold: which sources the compiled modules were made of.

Each compiled module carries an id: the hash of its own .pyx and of all that it takes in from ext/ and from
layout.py, so that a change makes other ids for the modules that it touches, and for no other. It stands in
the file as text (MARK), and is read from there without loading it. The build writes the table of ids that
belong together (kite_hft/_built.py). A module with another id than the table's, or none, is of another build:
a process refuses to work with it, by its name. `fingerprint` stands for all modules of this package together;
segments, snapshots and journals carry it.

Standard library only: setup.py loads this file by its path, before the package can be imported.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
SOURCES: Final = PACKAGE.parents[1] / "ext"
TABLE: Final = "_built.py"
MARK: Final = b"KITE_HFT-SOURCES "
ID_DIGITS: Final = 16
LAYOUT: Final = "khft_layout"
"""What is generated of layout.py."""
_IDS: Final = re.compile(r'^    "(_\w+)": 0x([0-9a-f]{16}),$', re.MULTILINE)
_TAKEN_IN: Final = re.compile(
    r'^\s*#\s*include\s+"([^"]+)"'  # C
    r'|^\s*cdef\s+extern\s+from\s+"([^"]+)"'
    r'|^\s*include\s+"([^"]+)"'
    r"|^\s*(?:from|cimport)\s+([\w.]+)",
    re.MULTILINE,
)


class MixedBuild(Exception):
    """Compiled modules of several builds; the message names them and says what to do."""


def taken_in(text: str, folder: Path) -> set[str]:
    """Names of files of `folder` that a source takes in, LAYOUT among them where it does."""
    found: set[str] = set()
    for match in _TAKEN_IN.finditer(text):
        name = next(filter(None, match.groups()))
        stem = name.rpartition(".")[2] if match[4] else Path(name).stem
        if stem == LAYOUT:
            found.add(LAYOUT)
        # `from kite_hft._x cimport` finds the face of the module x: ext/_x.pxd, or ext/x.pxd
        names = {name} if not match[4] else {f"{stem}.pxd", f"{stem.removeprefix('_')}.pxd"}
        found |= {one for one in names if (folder / one).is_file()}
    return found


def sources_of(folder: Path, module: str) -> list[str]:
    """Names of all files in `folder` (ext/) that the module `_x` is made of; LAYOUT stands for layout.py."""
    stem = module.removeprefix("_")
    left = {name for name in (f"{stem}.pyx", f"_{stem}.pxd", f"{stem}.pxd") if (folder / name).is_file()}
    found: set[str] = set()
    while left:
        name = left.pop()
        found.add(name)
        if name != LAYOUT:
            left |= taken_in((folder / name).read_text("utf-8"), folder) - found
    return sorted(found)


def id_of(folder: Path, module: str, layout: str) -> int:
    """What the id of a module is by the sources as they are now. layout: the text of the generated header.

    Raises:
        OSError: a source cannot be read.
    """
    digest = hashlib.sha256()
    for name in sources_of(folder, module):
        data = layout.encode() if name == LAYOUT else (folder / name).read_bytes()
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return int.from_bytes(digest.digest()[:8], "little")


def marked(module: str, number: int) -> str:
    """The text that a compiled module carries."""
    return f"{MARK.decode()}{module} {number:0{ID_DIGITS}x}"


def id_in(path: Path) -> int | None:
    """The id that a compiled module carries; None: none, it is of a build that had no ids."""
    mark = MARK + path.name.partition(".")[0].encode() + b" "
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(mark)
            return int(data[at + len(mark) : at + len(mark) + ID_DIGITS], 16) if at >= 0 else None
    except ValueError:  # an empty file, or no number
        return None


def table_text(ids: Mapping[str, int]) -> str:
    """The table as a module."""
    rows = "".join(f'    "{name}": 0x{number:016x},\n' for name, number in sorted(ids.items()))
    head = '"""Layer 0, cold: the ids of the compiled modules (builds.py). Made by the build: do not edit."""'
    return f"{head}\n\nMODULES = {{\n{rows}}}\n"


def table_in(package: Path) -> dict[str, int]:
    """Module -> id that belongs to this package; empty: nothing was built."""
    try:
        text = (package / TABLE).read_text("utf-8")
    except OSError:
        return {}
    return {name: int(number, 16) for name, number in _IDS.findall(text)}


def compiled(package: Path) -> dict[str, Path]:
    """The compiled modules of a package."""
    return {path.name.partition(".")[0]: path for path in sorted(package.glob("_*.so"))}


def mixed(package: Path) -> list[str]:
    """Compiled modules that are not of this package's build, each with what is wrong; []: all belong."""
    table, found = table_in(package), compiled(package)
    if not table:
        return [f"{package / TABLE} is missing or empty: nothing says which modules belong together"]
    wrong = [f"{name} is missing" for name in table if name not in found]
    for name, path in found.items():
        number = id_in(path)
        if name not in table:
            wrong.append(f"{name} is no part of this build")
        elif number is None:
            wrong.append(f"{name} carries no id: an older build made it")
        elif number != table[name]:
            wrong.append(f"{name} has id {number:016x}, this build {table[name]:016x}")
    return wrong


def stale(package: Path, folder: Path) -> list[str]:
    """Compiled modules whose sources in `folder` (ext/) have changed since, each with the changed ones as far
    as times tell; []: none, or there are no sources here."""
    wrong: list[str] = []
    header = folder.parent / f"build/gen/{LAYOUT}.h"
    if not folder.is_dir() or not header.is_file():
        return wrong
    layout = header.read_text("utf-8")
    for name, path in compiled(package).items():
        if not (folder / f"{name[1:]}.pyx").is_file():
            wrong.append(f"{name} has no source any more")
        elif id_in(path) != id_of(folder, name, layout):
            made_ns = path.stat().st_mtime_ns
            names = [one for one in sources_of(folder, name) if one != LAYOUT]
            newer = [one for one in names if (folder / one).stat().st_mtime_ns > made_ns]
            wrong.append(f"{name} is older than {', '.join(newer) or 'its sources'}")
    return wrong


@functools.cache
def fingerprint() -> int:
    """Of all compiled modules of this package as they lie on the disk, by their ids."""
    digest = hashlib.sha256()
    for name, path in compiled(PACKAGE).items():
        digest.update(f"{name} {id_in(path)}\n".encode())
    return int.from_bytes(digest.digest()[:8], "little")


@functools.cache
def _mixed_here() -> str:
    return "; ".join(mixed(PACKAGE))


def require_fresh() -> None:
    """Refuse compiled modules that are older than the sources beside them: a package that was brought up to
    date and not built again. Nothing is refused where there are no sources.

    Raises:
        MixedBuild: names them.
    """
    if wrong := stale(PACKAGE, SOURCES):
        raise MixedBuild(f"the sources have changed since they were built: {'; '.join(wrong)}; make build")


def require_one_build() -> None:
    """Refuse compiled modules of several builds in this package. Looks once in a process.

    Raises:
        MixedBuild: names them.
    """
    if said := _mixed_here():
        raise MixedBuild(f"compiled modules of several builds are mixed: {said}; build again (make build)")
