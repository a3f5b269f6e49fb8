"""Layer 6, by hand or CI, cold: `verify formats`: no file that runs code when it is read.

Three proofs. The source: no module of the package, of ext/ and of scripts/ imports pickle, marshal,
joblib, dill, shelve or an HDF5 reader, in whatever spelling. The run: an engine trades on the simulator
with a compiled strategy while an audit hook (PEP 578) in each of its processes writes down every
`pickle.find_class`, with who asked. Only numba may, in workers, where it reads its own cache; never a process
that is FEED or ORDERS. A hook that sees nothing proves nothing: each must have reported its start, and must
see a pickle that is planted. A process that is feed and worker in one counts as a worker. The files: every
reader of the product is fed with more than 200 malicious, damaged and absurd ones, and with what is no file
(corpus.py): each is refused in words, in bounded time and memory, and nothing runs; readers with one fault
each are planted and must be found.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.campaign import CONFIG, ROOT, CampaignError, show_progress
from kite_hft.verify.shield.corpus_loaders import CARELESS, LOADERS
from kite_hft.verify.shield.feeding import controls, feed

FORBIDDEN: Final = frozenset(
    {"pickle", "_pickle", "cPickle", "cloudpickle", "pickletools", "marshal", "joblib", "dill", "shelve"}
    | {"h5py", "tables", "multiprocessing"}
)
CALLS: Final = frozenset({"read_pickle", "to_pickle", "read_hdf", "to_hdf"})
ENGINE_S: Final = 8
ALLOWED: Final = frozenset({"numba"})
"""Packages that may read a pickle, in workers and in what prepares them."""
NEVER: Final = frozenset({"orders", "feed"})
HOOK: Final = """
import os, sys
def _watch():
    fd = os.open(os.path.join(os.environ["KITE_HFT_AUDIT"], f"{os.getpid()}.txt"),
                 os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    words = " ".join(sys.orig_argv[1:6])
    os.write(fd, f"start|{words}\\n".encode())
    def asking():
        frame = sys._getframe(2)
        while frame is not None:
            package = str(frame.f_globals.get("__name__", "")).split(".")[0]
            if package not in ("pickle", "_pickle", "sitecustomize", "importlib", ""):
                return package
            frame = frame.f_back
        return "nobody"
    def hook(event, values):
        if event == "pickle.find_class":
            try:
                name = open("/proc/self/comm").read().strip()
                who = asking()
                os.write(fd, f"find|{name}|{who}|{values[0]}.{values[1]}\\n".encode())
            except OSError:
                pass
    sys.addaudithook(hook)
_watch()
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify formats", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--source", action="store_true", help="the source alone, without a run")
    made.add_argument("--files", action="store_true", help="the files alone, without a run")
    made.add_argument("--reader", action="append", choices=[*LOADERS], help="this reader alone (repeatable)")
    made.add_argument("--short", action="store_true", help="one file in eight, and no bombs")
    made.add_argument("--seconds", type=int, default=ENGINE_S, help=f"length of the run ({ENGINE_S})")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """One JSON line; 1 when a format that runs code is read, or the hook saw nothing."""
    options = parser().parse_args(argv)
    began = time.monotonic()
    found, files = imported(ROOT)
    told: dict[str, Any] = {"campaign": "formats", "files": files, "imports": found}
    wrong = list(found)
    if not (options.source or options.files):
        try:
            ran, missed = watched_run(options.seconds)
        except CampaignError as error:
            print(f"verify formats: {error}", file=sys.stderr)
            return 1
        told["run"] = ran
        wrong += missed
    if not options.source:
        told["readers"], missed = feed(options.reader or [*LOADERS], short=options.short, show=show_progress)
        blind = controls()
        told["readers"]["faults_found"] = len(CARELESS) - len(blind)
        wrong += missed + blind
    told |= {"ok": not wrong, "wrong": wrong[:20], "seconds": round(time.monotonic() - began, 1)}
    if wrong:
        words = [f"--{name}" for name in ("source", "files", "short") if vars(options)[name]]
        told["replay"] = " ".join(["python -m kite_hft.verify formats", *words])
    print(json.dumps(told))
    return int(bool(wrong))


def imported(root: Path) -> tuple[list[str], int]:
    """(`file:line: name` of what may not be imported or called, how many files were read)."""
    found: list[str] = []
    python = [p for room in ("src", "ext", "scripts") for p in sorted((root / room).rglob("*.py"))]
    compiled = [p for end in ("*.pyx", "*.pxd") for p in sorted((root / "ext").glob(end))]
    for path in python:
        found += [f"{path.relative_to(root)}:{line}: {name}" for line, name in names_in(path.read_text())]
    words = re.compile(rf"^\s*(?:from|c?import)\s+({'|'.join(sorted(FORBIDDEN))})\b", re.MULTILINE)
    for path in compiled:
        text = path.read_text()
        for hit in words.finditer(text):
            found.append(f"{path.relative_to(root)}:{text.count(chr(10), 0, hit.start(1)) + 1}: {hit[1]}")
    return found, len(python) + len(compiled)


def names_in(text: str) -> list[tuple[int, str]]:
    """(line, name) of each import and call in a module that reads or writes such a format."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if _is_forbidden(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module and _is_forbidden(node.module) else []
        elif isinstance(node, ast.Call):
            names = _called(node)
        found += [(getattr(node, "lineno", 0), name) for name in names]
    return found


def _is_forbidden(module: str) -> bool:
    return module.split(".")[0] in FORBIDDEN


def _called(node: ast.Call) -> list[str]:
    """What a call comes to: an import by name, a reader of pickles, numpy's permission."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    names = [name] if name in CALLS else []
    if name in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
        names += [module for module in [str(node.args[0].value)] if _is_forbidden(module)]
    for word in node.keywords:
        if word.arg == "allow_pickle" and getattr(word.value, "value", None) is not False:
            names.append("allow_pickle")
    return names


def watched_run(seconds: int) -> tuple[dict[str, Any], list[str]]:
    """(what the hooks of an engine's processes saw, what they must not have seen).

    Raises:
        CampaignError: the engine did not run.
    """
    with tempfile.TemporaryDirectory(prefix="kite_hft-formats-") as name:
        folder = Path(name)
        (folder / "hook").mkdir()
        (folder / "seen").mkdir()
        (folder / "hook/sitecustomize.py").write_text(HOOK)
        path = os.pathsep.join([str(folder / "hook"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "KITE_HFT_AUDIT": str(folder / "seen"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        planted = "import pickle, pathlib; pickle.loads(pickle.dumps(pathlib.PurePosixPath))"
        subprocess.run([sys.executable, "-c", planted], env=environment, check=True)
        text = (CONFIG / "demo.yaml").read_text().replace("account: DEMO", "account: VERIFYFORMATS")
        text = re.sub(r"^trading:\n", f"trading:\n{_facts()}", text, flags=re.MULTILINE)
        (folder / "engine.yaml").write_text(text)
        command = [
            sys.executable,
            "-m",
            "kite_hft.engine",
            "--plain",
            "--config",
            str(folder / "engine.yaml"),
        ]
        for _again in range(2):  # the first compiles and fills the cache, the second reads it
            done = subprocess.run(
                [*command, "--duration", str(seconds)], env=environment, capture_output=True, text=True,
                check=False, timeout=300,
            )  # fmt: skip
            if done.returncode:
                raise CampaignError(f"the engine ended with {done.returncode}: {done.stderr[-600:]}")
        return judged(folder / "seen")


def _facts() -> str:
    names = {"calendar": "calendar/india.yaml", "rules": "rules/kite_2026-04-01.yaml"}
    names |= {"charges": "rules/charges_zerodha_2026-04-01.yaml", "market": "rules/market_2026-08-03.yaml"}
    return "".join(f"  {key}: {CONFIG / name}\n" for key, name in names.items())


def judged(seen: Path) -> tuple[dict[str, Any], list[str]]:
    """(what stands in the hooks' files, what is wrong with it)."""
    wrong: list[str] = []
    children = planted = by_numba = 0
    for path in sorted(seen.glob("*.txt")):
        rows = [line.split("|") for line in path.read_text().splitlines()]
        started = rows[0][1] if rows and rows[0][0] == "start" else ""
        is_plant = started.startswith("-c")
        children += "kite_hft.engine.processes.child" in started
        for _, process, who, what in (row for row in rows if row[0] == "find"):
            if is_plant:
                planted += 1
            elif who not in ALLOWED:
                wrong.append(f"{process}: {who} read {what} ({started})")
            elif process.partition("-")[0] in NEVER or re.search(r"child (orders|feed)", started):
                wrong.append(f"{process}: numba read {what} in a process that must not")
            else:
                by_numba += 1
    if not planted:
        wrong.append("the hook did not see the planted pickle")
    if children < 2:
        wrong.append(f"the hook started in {children} of the engine's processes")
    return {"children": children, "planted_seen": planted, "by_numba": by_numba}, wrong
