"""Layer 6, by hand, cold: what the doctor finds of the package itself: Python, packages, compiled modules."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from pathlib import Path
from typing import Final

import kite_hft
from kite_hft import _ring, builds, layout
from kite_hft.app.day.facts import BuildFacts

PYTHON_MIN: Final = (3, 11)
_LOCKED: Final = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+?)(\s*;[^\\]*)?\s*\\?$")


def build_facts() -> BuildFacts:
    """Of the package that runs now."""
    package = Path(kite_hft.__file__).parent
    lock = package.parents[1] / "locks" / "runtime.txt"
    built = builds.compiled(package)
    due = {path.stem for path in package.glob("_*.pyi")} | set(builds.table_in(package))
    return BuildFacts(
        python=platform.python_version(),
        supported=sys.version_info >= PYTHON_MIN,
        lock=lock if lock.is_file() else None,
        differing=differing(lock.read_text("utf-8")) if lock.is_file() else (),
        modules=len(built),
        missing=tuple(sorted(due - set(built))),
        mixed=mixed(package, builds.SOURCES),
        build=f"{builds.fingerprint():016x}",
    )


def locked(text: str) -> dict[str, tuple[list[str], bool]]:
    """Package -> (versions, whether they are for some machines or Pythons only), of a lock file's text."""
    found: dict[str, tuple[list[str], bool]] = {}
    for line in text.splitlines():
        if matched := _LOCKED.match(line.strip()):
            versions, _ = found.get(matched[1], ([], False))
            found[matched[1]] = [*versions, matched[2]], bool(matched[3])
    return found


def differing(text: str) -> tuple[str, ...]:
    """Packages that are not as the lock has them."""
    rows = []
    for name, (versions, somewhere) in locked(text).items():
        version = " or ".join(versions)
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if not somewhere:
                rows.append(f"{name} is missing, locked {version}")
            continue
        if here not in versions:
            rows.append(f"{name} {here}, locked {version}")
    return tuple(rows)


def mixed(package: Path, sources: Path) -> tuple[str, ...]:
    """Compiled modules that do not belong to this package, each by its name, and why; () when all do.

    sources: ext/, where the package lies in its source tree: what has changed there since is named, too.
    """
    found = []
    if layout.LAYOUT_FINGERPRINT != _ring.LAYOUT_FINGERPRINT:
        found.append(
            f"layout.py has fingerprint {layout.LAYOUT_FINGERPRINT:016x}, the compiled modules "
            f"{_ring.LAYOUT_FINGERPRINT:016x}"
        )
    found += builds.mixed(package)
    named = {row.partition(" ")[0] for row in found}
    found += [row for row in builds.stale(package, sources) if row.partition(" ")[0] not in named]
    return tuple(found)
