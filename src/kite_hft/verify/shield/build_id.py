"""Layer 6, by hand or CI, cold: `verify build-id`: processes of two builds never work together.

Four builds stand for all: this one, one with another record layout, one with other compiled sources, one
with both. Each makes every kind of shared memory and a snapshot of a worker; each then tries to use what
each other made, and what it made itself. Only its own is taken; everything else is refused by name,
untouched. Then each compiled module alone is exchanged for one of another build, one without an id, none: it
must be named. Last the package itself is copied, with one number of layout.py changed, and with one module
exchanged that the engine would not even load: an engine and a reader from such a copy must refuse to start.

The engine's children get their configuration from the supervisor over a pipe and read none of their own: two
processes of one engine cannot have different ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft import builds
from kite_hft.layout import SegmentKind
from kite_hft.verify.campaign import CONFIG, ROOT, CampaignError
from kite_hft.verify.memory.ring import memory_directory

BUILDS: Final = {"this": (0, 0), "other layout": (1, 0), "other sources": (0, 1), "other both": (1, 1)}
"""Name -> what is changed of (the layout's fingerprint, the build's)."""
WORKER: Final = "from kite_hft.verify.shield.build_worker import run; run()"
TIMEOUT_S: Final = 60
CHANGED: Final = r"^(HISTOGRAM_SUB_BITS.*= )\d+"
SELDOM: Final = "_ring_faults"
"""A module that no engine loads."""
EXCHANGES: Final[dict[str, Callable[[bytes, bytes], bytes] | None]] = {
    "of another build": lambda data, mark: data.replace(mark, mark[:-1] + b" 0", 1),
    "without an id": lambda data, mark: data.replace(mark, bytes(len(mark)), 1),
    "empty": lambda data, mark: b"",
    "missing": None,
}
REFUSES: Final = {
    "engine": ["-m", "kite_hft.engine", "--plain", "--duration", "2", "--config", str(CONFIG / "demo.yaml")],
    "segment": ["-c", "from kite_hft.memory import segment; from pathlib import Path; "
                "segment.attach(Path('/dev/shm/none'), 1, writable=False)"],
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify build-id", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--pairs", action="store_true", help="the pairs alone, without changed copies")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """One JSON line; 1 when two builds worked together, or one build with itself did not."""
    options = parser().parse_args(argv)
    began = time.monotonic()
    try:
        told, wrong = pairs()
        if not options.pairs:
            told["modules_named"], more = exchanged_modules()
            wrong += more
            told["copies_refused"], more = changed_copy()
            wrong += more
    except CampaignError as error:
        print(f"verify build-id: {error}", file=sys.stderr)
        return 1
    said: dict[str, Any] = {"campaign": "build-id", "ok": not wrong, **told, "wrong": wrong[:20]}
    said["seconds"] = round(time.monotonic() - began, 1)
    if wrong:
        said["replay"] = "python -m kite_hft.verify build-id" + (" --pairs" if options.pairs else "")
    print(json.dumps(said))
    return int(bool(wrong))


def pairs() -> tuple[dict[str, Any], list[str]]:
    """(figures, what was wrong) of every build with every other.

    Raises:
        CampaignError: a process of the campaign failed.
    """
    wrong: list[str] = []
    refused = taken = 0
    with tempfile.TemporaryDirectory(dir=memory_directory(), prefix="kite_hft-build-id-") as name:
        folder = Path(name)
        for number, maker in enumerate(BUILDS):
            (folder / str(number)).mkdir(mode=0o700)
            asked("make", maker, folder / str(number))
        for number, maker in enumerate(BUILDS):
            for user in BUILDS:
                for what, came in asked("use", user, folder / str(number)).items():
                    right = came == "taken" if maker == user else came in due(maker, user, what)
                    refused += right and maker != user
                    taken += right and maker == user
                    if not right:
                        wrong.append(f"{what} of {maker!r} used by {user!r}: {came}")
    mixed = len(BUILDS) * (len(BUILDS) - 1)
    return {"pairs": mixed, "refused": refused, "taken_by_their_own": taken}, wrong


def due(maker: str, user: str, what: str) -> tuple[str, ...]:
    """By which names a refusal comes."""
    if what == "snapshot":
        return ("none",)  # an old state is no state: the worker starts without
    layouts = BUILDS[maker][0] != BUILDS[user][0]
    return ("LayoutMismatch",) if layouts else ("BuildMismatch",)


def asked(act: str, build: str, folder: Path) -> dict[str, str]:
    """What a process that takes itself for `build` says of the files in `folder`."""
    task = {
        "act": act,
        "folder": str(folder),
        "change": BUILDS[build],
        "kinds": [int(k) for k in SegmentKind],
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKER], input=json.dumps(task), capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CampaignError(f"{act} as {build!r}: {done.stderr[-600:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def exchanged_modules(package: Path = builds.PACKAGE) -> tuple[int, list[str]]:
    """(exchanges of one compiled module that were told by its name, which were not)."""
    named, wrong = 0, []
    modules = builds.compiled(package)
    for name in modules:
        for how, change in EXCHANGES.items():
            with tempfile.TemporaryDirectory(prefix="kite_hft-build-id-") as made:
                folder = Path(made)
                for path in (*modules.values(), package / builds.TABLE):
                    (folder / path.name).symlink_to(path)
                exchange(folder / modules[name].name, change)
                said = builds.mixed(folder)
            right = len(said) == 1 and said[0].startswith(f"{name} ")
            named += right
            if not right:
                wrong.append(f"{name} {how}: {said}")
    return named, wrong


def exchange(path: Path, change: Callable[[bytes, bytes], bytes] | None) -> None:
    """Put another module in the place of one. change: makes its bytes of the old ones and their mark."""
    data = path.read_bytes()
    path.unlink()
    if change:
        mark = builds.MARK + path.name.partition(".")[0].encode() + b" "
        path.write_bytes(change(data, mark))


def changed_copy() -> tuple[int, list[str]]:
    """(how many programs of a package with another layout.py, or another module, refused; which did not)."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kite_hft-build-id-") as name:
        copy = Path(name) / "kite_hft"
        ignore = shutil.ignore_patterns("__pycache__", "*.pyi")
        shutil.copytree(ROOT / "src/kite_hft", copy, ignore=ignore)
        (Path(name) / "config").symlink_to(CONFIG)
        kept = builds.compiled(copy)[SELDOM]
        sound = kept.read_bytes()
        exchange(kept, EXCHANGES["of another build"])
        wrong += started(Path(name), SELDOM)
        kept.write_bytes(sound)
        text = (copy / "layout.py").read_text()
        changed, n = re.subn(CHANGED, r"\g<1>5", text, count=1, flags=re.MULTILINE)
        if not n:
            raise CampaignError("layout.py has no HISTOGRAM_SUB_BITS to change")
        (copy / "layout.py").write_text(changed)
        wrong += started(Path(name), "layout.py")
    return 2 * len(REFUSES) - len(wrong), wrong


def started(folder: Path, named: str) -> list[str]:
    """Programs of the package in `folder` that do not refuse, or do not name what is wrong."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "XDG_STATE_HOME": f"{folder}/state"}
    wrong = []
    for what, words in REFUSES.items():
        done = subprocess.run(
            [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if not done.returncode or "build again" not in said or named not in said:
            wrong.append(f"{what} from a copy with another {named}: {done.returncode}: {said[-300:]}")
    return wrong
