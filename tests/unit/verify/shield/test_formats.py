"""The campaign of formats finds each spelling, and judges the hooks' files as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.verify.shield import formats


def test_the_source_reads_no_format_that_runs_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats.main(["--source"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["files"] > 300 and told["imports"] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import json, dill as d",
        "from joblib import load",
        "from marshal import loads as read",
        "def f():\n    import shelve",
        "__import__('pickle')",
        "import importlib\nimportlib.import_module('h5py.h5')",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
    ],
)
def test_each_spelling_is_found(line: str) -> None:
    assert formats.names_in(line)


@pytest.mark.parametrize(
    "line", ["import json", "np.load(path, allow_pickle=False)", "tables(1)", "from . import x"]
)
def test_what_is_harmless_is_not(line: str) -> None:
    assert formats.names_in(line) == []


def test_an_import_in_a_compiled_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext/a.pyx").write_text("import json\nfrom pickle import loads\n")
    assert formats.imported(tmp_path) == (["ext/a.pyx:2: pickle"], 1)


CHILD = "start|python -m kite_hft.engine.processes.child"
PLANT = "start|-c import pickle\nfind|python|__main__|pathlib.PurePosixPath\n"


def seen(folder: Path, *files: str) -> Path:
    for number, text in enumerate(files):
        (folder / f"{number}.txt").write_text(text)
    return folder


def test_numba_in_a_worker_is_no_miss(tmp_path: Path) -> None:
    worker = f"{CHILD} compute-0 5 6\nfind|compute-0|numba|numba.core.types.Float\n"
    told, wrong = formats.judged(seen(tmp_path, PLANT, worker, f"{CHILD} orders 5 6\n"))
    assert wrong == [] and told == {"children": 2, "planted_seen": 1, "by_numba": 1}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((PLANT, f"{CHILD} a\n", f"{CHILD} orders 5 6\nfind|orders|numba|x.y\n"), "must not"),
        ((PLANT, f"{CHILD} a\n", f"{CHILD} feed-0 5 6\nfind|python|numba|x.y\n"), "must not"),
        ((PLANT, f"{CHILD} a\n", f"{CHILD} compute-0\nfind|compute-0|kite_hft|x.y\n"), "kite_hft read x.y"),
        ((f"{CHILD} a\n", f"{CHILD} b\n"), "planted"),
        ((PLANT, f"{CHILD} a\n"), "started in 1"),
    ],
)
def test_what_must_not_be_is_told(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    assert said in " ".join(formats.judged(seen(tmp_path, *files))[1])
