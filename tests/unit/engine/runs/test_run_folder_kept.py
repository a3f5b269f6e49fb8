"""Nothing deletes what a run has left: all that may delete or shorten a file is listed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from kite_hft.engine.runs.run_folder import open_run

PACKAGE = Path(__file__).parents[4] / "src/kite_hft"
EXT = PACKAGE.parents[1] / "ext"
DAY_NS = 86_400 * 10**9
AT = 1_795_150_800 * 10**9  # 2026-11-20
DELETES = {"unlink", "rmtree", "rmdir", "removedirs"}
SHORTENS = {"truncate", "ftruncate"}

DOORS = {
    # Files of its own that did not come to an end, and were never anybody's record
    "app/day/incident/pack.py write": "a pack that could not be written",
    "app/files/convert.py _nameless": "the beginning of a converted file",
    "engine/history/replacing.py replace": "the beginning of a file of history, whose old one stands",
    "engine/plan/master_cache.py save": "a list of instruments that is replaced by a newer one",
    "memory/generations.py point": "the beginning of a manifest in shared memory",
    "memory/journal_files.py open_journal": "a journal that could not be begun: it has no header yet",
    "memory/scrap.py __init__": "a rehearsal's file, which never had records",
    "engine/runs/run_folder.py _point_latest": "a link",
    # Shared memory, sockets, locks and empty folders for them
    "engine/command.py remove_empty": "a folder of shared memory, when it is empty",
    "engine/plan/launch.py release": "shared memory of this run",
    "engine/plan/launch.py prepare": "shared memory of a run that was killed",
    "engine/processes/control.py close": "a socket",
    "engine/processes/family.py _next_generation": "shared memory of a process that has died",
    "engine/processes/family.py tend": "shared memory of a process that has died",
    "engine/runs/run_folder.py release": "a lock",
    "engine/runs/run_folder.py open_run": "a lock",
    "engine/runs/run_folder.py lock_account": "a lock",
    "engine/history/job.py taken": "a lock",
    "memory/segment.py unlink": "shared memory",
    "memory/segment.py create": "shared memory",
    # Latches and secrets, which a person ends or replaces
    "engine/orders/latch.py clear_latch": "the kill latch: kills and resumes stand in the journal",
    "engine/orders/latches.py _write": "strategies that are held: they stand in the journal",
    "engine/orders/latch.py _put": "the second name of the kill latch, which stands",
    "engine/keys/vault.py remove": "a secret",
    "engine/keys/vault.py _locked": "a secret",
    "engine/keys/vault.py _replace": "a secret",
    # Ends of files: room that was set apart, and a torn tail, of which a copy is kept
    "engine/market/bar_file.py __init__": "a snapshot of a worker",
    "engine/market/bar_file.py _telling": "what a full disk has taken half of",
    "engine/orders/files.py open_run_journal": "the note that a journal failed, once it was taken up",
    "engine/orders/files.py open_csv": "a row that a crash tore: it is written again from the journal",
    "memory/journal_files.py reopen_journal": "a torn tail: a copy of it is kept beside",
    "memory/journal_files.py give_back_reserves": "room behind the last record of a run that has died",
    "memory/journal_writer.py truncate": "room behind the last record",
    "memory/journal_writer.py finish": "room behind the last record",
    "memory/recording_writer.py close": "room behind the last row",
}
"""Module and function -> what it deletes or shortens."""


def doors() -> Iterator[str]:
    """Every place outside `verify` and the simulators that may delete or shorten a file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE)
        if room.parts[0] in ("verify", "sim"):
            continue
        tree, within = ast.parse(path.read_text("utf-8")), dict[int, str]()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                within.update((id(inner), node.name) for inner in ast.walk(node))
        for node in ast.walk(tree):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            from_os = isinstance(node, ast.Attribute) and ast.unparse(node) == "os.remove"
            if isinstance(node, ast.Attribute | ast.Name) and (name in DELETES | SHORTENS or from_os):
                yield f"{room} {within.get(id(node), 'module')}"


def test_who_may_delete_or_shorten_a_file_is_known_by_name() -> None:
    assert set(doors()) == DOORS.keys()


def test_no_compiled_part_and_no_shell_deletes() -> None:
    calls = ("unlink(", "rmdir(", "remove(", "truncate(", "shutil")
    sources = [path for path in EXT.iterdir() if path.suffix in (".pyx", ".pxd", ".h", ".c")]
    found = [path.name for path in sources if any(call in path.read_text("utf-8") for call in calls)]
    assert sources and not found
    shells = [path for path in PACKAGE.rglob("*.py") if "os.system(" in path.read_text("utf-8")
              and "verify" not in path.parts]  # fmt: skip
    assert not shells


def test_a_new_run_leaves_what_older_ones_have_written(tmp_path: Path) -> None:
    (home := tmp_path / "shm").mkdir()
    (config := tmp_path / "demo.yaml").write_text("mode: sim\n")
    for days in range(0, 6 * 365, 365):
        run = open_run(tmp_path, home, "kite", "DEMO", AT + days * DAY_NS, [config])
        for name in ("journal.bin", "evidence.csv", "orders.csv", "trades.csv"):
            (run.path / name).write_text(f"{days}")
        run.release()
    assert len(list(tmp_path.glob("kite-DEMO/*/*/journal.bin"))) == 6
    assert len(list(tmp_path.glob("kite-DEMO/*/*/evidence.csv"))) == 6
