"""Decoys are found where they lie, and a place without one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.verify.shield.canaries import Search
from kite_hft.verify.shield.decoys import (
    core_files,
    cores_go_elsewhere,
    decoys,
    dump_core,
    holder,
    not_found,
    plant_left,
    plant_shared,
    real,
)

OF_PROCESS = {"argv", "environ", "memory", "core"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder as the engine leaves it."""
    made = tmp_path / "run"
    made.mkdir()
    for name in ("engine.log", "journal.bin"):
        (made / name).write_bytes(b"before\n")
    plant_left(made, tmp_path / "engine.out")
    plant_shared(tmp_path)
    return tmp_path


def test_what_is_planted_in_files_is_found(run: Path) -> None:
    search = Search({**decoys(), "token": "cnryToken123456"})
    search.tree(run, "files")
    assert not_found(search.hits, OF_PROCESS | {"memory"}) == [] and real(search.hits) == []
    assert b"Traceback" in (run / "engine.out").read_bytes()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("run/engine.log", "log"), ("run/journal.bin", "journal"), ("run/decoy.crash", "crash file"),
        ("run/decoy.tar.gz", "archive"), ("engine.out", "traceback"), ("decoy.seg", "shared memory"),
    ],
)  # fmt: skip
def test_a_place_that_is_not_searched_is_told(run: Path, name: str, place: str) -> None:
    search = Search(decoys())
    search.tree(run, "files", [run / name])
    assert not_found(search.hits, OF_PROCESS) == [f"planted and not found: decoy in {place}"]


def test_a_real_secret_is_no_decoy(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"cnryToken123456 {decoys()['decoy in log']}")
    search = Search({**decoys(), "token": "cnryToken123456"})
    search.tree(tmp_path, "files")
    assert real(search.hits) == [f"{tmp_path}/a.log: token, as it is"]


def test_the_holder_is_seen_and_leaves_a_core_file(tmp_path: Path) -> None:
    search = Search(decoys())
    with holder(tmp_path) as process:
        search.process(process.pid)
        left = not_found(search.hits, {"core", "memory"})
        assert {"argv", "environ"} & {
            name.removeprefix("planted and not found: decoy in ") for name in left
        } == set()
        assert dump_core(process) == 6
    if cores_go_elsewhere() or not core_files(tmp_path):
        pytest.skip("the kernel writes no core file into this folder")
    search.tree(tmp_path, "core")
    assert any("decoy in core, as it is" in hit for hit in search.hits)
