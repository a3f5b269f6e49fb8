"""Ids of compiled modules: what they depend on, what is told of a module of another build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kite_hft import builds

HEADER = "#define KHFT_X 1"


def sources(folder: Path) -> Path:
    """Two modules: a takes in a header and the layout, b the face of a."""
    ext = folder / "ext"
    ext.mkdir()
    (ext / "a.pyx").write_text('cdef extern from "a.h" nogil:\n    int f()\nfrom khft_layout cimport *\n')
    (ext / "a.h").write_text('#include <stdint.h>\n#include "deep.h"\n')
    (ext / "deep.h").write_text("int f(void);\n")
    (ext / "_a.pxd").write_text("cdef class A:\n    pass\n")
    (ext / "b.pyx").write_text("from kite_hft._a cimport A\n")
    (ext / "c.pyx").write_text("import json\n")
    return ext


def ids(ext: Path, layout: str = HEADER) -> list[int]:
    return [builds.id_of(ext, name, layout) for name in ("_a", "_b", "_c")]


def test_a_module_is_made_of_all_that_it_takes_in(tmp_path: Path) -> None:
    ext = sources(tmp_path)
    assert builds.sources_of(ext, "_a") == ["_a.pxd", "a.h", "a.pyx", "deep.h", "khft_layout"]
    assert builds.sources_of(ext, "_b") == ["_a.pxd", "b.pyx"]
    assert builds.sources_of(ext, "_c") == ["c.pyx"]


@pytest.mark.parametrize(
    ("file", "changes"),
    [("deep.h", "a"), ("_a.pxd", "ab"), ("b.pyx", "b"), ("c.pyx", "c"), ("layout", "a")],
)
def test_a_change_makes_other_ids_of_the_modules_that_it_touches(
    tmp_path: Path, file: str, changes: str
) -> None:
    ext = sources(tmp_path)
    before = ids(ext)
    if file != "layout":
        (ext / file).write_text((ext / file).read_text() + "\n")
    after = ids(ext, HEADER + "0" * (file == "layout"))
    assert [name for name, one, other in zip("abc", before, after, strict=True) if one != other] == list(
        changes
    )


def package(folder: Path, table: dict[str, int], carried: dict[str, bytes]) -> Path:
    made = folder / "kite_hft"
    made.mkdir()
    (made / builds.TABLE).write_text(builds.table_text(table))
    for name, data in carried.items():
        (made / f"{name}.cpython-311-x86_64-linux-gnu.so").write_bytes(data)
    return made


def carrying(name: str, number: int) -> bytes:
    return b"\x7fELF..." + builds.marked(name, number).encode() + b"\0 more"


def test_modules_of_one_build_belong_together(tmp_path: Path) -> None:
    made = package(
        tmp_path, {"_a": 2**64 - 1, "_b": 7}, {n: carrying(n, i) for n, i in (("_a", 2**64 - 1), ("_b", 7))}
    )
    assert builds.table_in(made) == {"_a": 2**64 - 1, "_b": 7} and builds.mixed(made) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (carrying("_b", 8), "_b has id 0000000000000008, this build 0000000000000007"),
        (carrying("_a", 7), "_b carries no id"),
        (b"\x7fELF", "_b carries no id"),
        (b"", "_b carries no id"),
        (None, "_b is missing"),
    ],
)
def test_a_module_of_another_build_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    carried = {"_a": carrying("_a", 1)} | ({"_b": data} if data is not None else {})
    found = builds.mixed(package(tmp_path, {"_a": 1, "_b": 7}, carried))
    assert len(found) == 1 and found[0].startswith(said)


def test_a_module_too_many_and_a_missing_table_are_told(tmp_path: Path) -> None:
    made = package(tmp_path, {"_a": 1}, {"_a": carrying("_a", 1), "_z": carrying("_z", 1)})
    assert builds.mixed(made) == ["_z is no part of this build"]
    (made / builds.TABLE).unlink()
    assert "missing or empty" in builds.mixed(made)[0]


def test_sources_that_have_changed_since_are_named(tmp_path: Path) -> None:
    ext = sources(tmp_path)
    made = package(tmp_path, {}, {})
    assert builds.stale(made, ext) == []  # nothing generated: nothing to compare with
    (tmp_path / "build/gen").mkdir(parents=True)
    (tmp_path / "build/gen/khft_layout.h").write_text(HEADER)
    for name, number in zip(("_a", "_b", "_c"), ids(ext), strict=True):
        (made / f"{name}.so").write_bytes(carrying(name, number))
    assert builds.stale(made, ext) == []
    (ext / "deep.h").write_text("long f(void);\n")
    os.utime(ext / "deep.h", (2**32, 2**32))
    (ext / "c.pyx").unlink()
    assert builds.stale(made, ext) == ["_a is older than deep.h", "_c has no source any more"]


def test_mixed_modules_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "_mixed_here", lambda: "_b is missing")
    with pytest.raises(builds.MixedBuild, match="_b is missing; build again"):
        builds.require_one_build()
    monkeypatch.setattr(builds, "stale", lambda package, folder: ["_a is older than a.h"])
    with pytest.raises(builds.MixedBuild, match=r"a\.h; make build"):
        builds.require_fresh()


def test_this_package_is_of_one_build() -> None:
    builds.require_one_build()
    assert builds.fingerprint() > 0 and len(builds.compiled(builds.PACKAGE)) > 20
