"""Layer 6, campaign of formats, cold: the corpus on the disk, and every reader of the product fed with it.

Each reader has a process of its own with a limit of memory and time; one that dies or hangs is named with the
file that it had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.shield import corpus
from kite_hft.verify.shield.corpus_loaders import CARELESS, LOADERS

WORKER: Final = "from kite_hft.verify.shield.corpus_worker import run; run()"
SHORT: Final = 8
"""--short takes one file in so many, and no bombs."""
LOADER_S: Final = 600.0
AT_ONCE: Final = 2


def feed(
    names: Sequence[str], *, short: bool, show: Callable[[int, int, str], None] = lambda n, of, what: None
) -> tuple[dict[str, Any], list[str]]:
    """(figures, what was wrong) of readers; show: takes how many are done."""
    with tempfile.TemporaryDirectory(prefix="kite_hft-corpus-") as name:
        folder = Path(name)
        kept = folder / "kept"
        kept.mkdir(mode=0o700)
        rows = []
        for number, (row, data) in enumerate(corpus.short_rows(SHORT) if short else corpus.rows()):
            (kept / str(number)).write_bytes(data)
            (kept / str(number)).chmod(0o600)
            rows.append((row, str(number)))
        tried, most, slowest, wrong = 0, 0, (0.0, ""), list[str]()

        def one(loader: str) -> tuple[str, list[dict[str, Any]], str]:
            return (loader, *fed_to(loader, folder, rows))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done, (loader, said, ended) in enumerate(pool.map(one, names), 1):
                told = [row for row in said if "wrong" in row]
                given = [row["file"] for row in said if "file" in row]
                tried += len(told)
                most = max([most, *(row["rss_mib"] for row in said if "done" in row)])
                paired = list(zip(told, given, strict=False))
                slowest = max([slowest, *((row["seconds"], f"{loader}: {file}") for row, file in paired)])
                wrong += [f"{loader}: {file}: {row['wrong']}" for row, file in paired if row["wrong"]]
                if not said or "done" not in said[-1]:
                    wrong.append(f"{loader}: ended at {given[-1] if given else 'its start'}: {ended}")
                show(done, len(names), loader)
    figures = {"readers": len(names), "files": len(rows), "tried": tried, "refused": tried - len(wrong),
               "rss_mib": most, "slowest_s": slowest[0], "slowest": slowest[1]}  # fmt: skip
    return figures, wrong


def controls() -> list[str]:
    """Faults of careless readers that are not found; []: the campaign sees."""
    missed = []
    with tempfile.TemporaryDirectory(prefix="kite_hft-corpus-") as name:
        (Path(name) / "kept").mkdir()
        (Path(name) / "kept/0").write_text("a")
        for loader in CARELESS:
            said, _ended = fed_to(loader, Path(name), [("a", "0")], step_s=0.3)
            if not any(row.get("wrong") for row in said):
                missed.append(f"blind: a reader that {loader} was not found")
    return missed


def fed_to(
    loader: str, folder: Path, rows: Sequence[tuple[str, str]], *, step_s: float = 20.0
) -> tuple[list[dict[str, Any]], str]:
    """(the lines of one reader's process, how it ended). step_s: CPU seconds that a file may take."""
    own = folder / "".join(c if c.isalnum() else "-" for c in loader)
    own.mkdir(mode=0o700)
    task = {
        "loader": loader,
        "folder": str(own),
        "corpus": str(folder / "kept"),
        "rows": list(rows),
        "step_s": step_s,
        "places": loader in LOADERS,
    }
    with (own / "said").open("w+") as out, (own / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            text=True,
            cwd=own,
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},  # others reserve gigabytes at once
        )
        try:
            process.communicate(json.dumps(task), timeout=LOADER_S)
            ended = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            ended = f"not done after {LOADER_S:.0f} s"
        out.seek(0)
        errors.seek(0)
        lines = [json.loads(line) for line in out.read().splitlines()]
        return lines, f"{ended} {errors.read()[-400:]}".strip()


def all_readers() -> list[str]:
    """Their names."""
    return [*LOADERS]
