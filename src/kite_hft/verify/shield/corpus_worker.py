"""Layer 6, one process of the campaign of formats, cold: feeds files to one reader and watches itself.

Started by verify/shield/feeding.py with its task as JSON on standard input. Before each file it says its
name, after it what came: a line of JSON each. An audit hook (PEP 578) writes down whatever would be code: a
class looked up by a pickle, a program started, a library loaded, a connection.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.shield import corpus, corpus_places
from kite_hft.verify.shield.corpus_loaders import CARELESS, LOADERS, Loader

ALWAYS: Final = frozenset(
    {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
    | {"subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen", "webbrowser.open", "os.kill"}
)
"""Events that no reading of a file needs."""
ROOM: Final = 4 << 30
"""Address space above what the process has when it begins."""
GROWTH_MIB: Final = 768
"""More resident memory than so is too much for one file of the corpus."""
STEP_S: Final = 20.0


class Watch:
    """What the audit hook saw since it was last asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, values: tuple[Any, ...]) -> None:
        if self._on and event in ALWAYS:
            self.seen.append(f"{event} {values[:2]!r}"[:120])

    def during(self, act: Callable[[], Any]) -> Any:
        """Do it while the hook looks."""
        self.seen = []
        self._on = True
        try:
            return act()
        finally:
            self._on = False


def files(task: dict[str, Any], whole: bytes) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """(name, makes it at a path) of all that this reader is given."""
    kept = Path(task["corpus"])
    for name, stored in task["rows"]:
        yield name, functools.partial(os.link, kept / stored)
    yield from corpus_places.places() if task["places"] else ()
    for name, data in corpus_places.damaged(whole) if whole else ():
        yield name, functools.partial(private, data=data)


def private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def sound(folder: Path, loader: Loader) -> tuple[bytes, Any]:
    """A file as we make it, which its reader must take, and what it means."""
    assert loader.make is not None
    path = placed(folder, loader)
    loader.make(path)
    answer = loader.act(path)
    assert not any(answer is one or answer == one for one in loader.nothing), (
        f"{path}: a sound file is not taken"
    )
    return path.read_bytes(), loader.meaning(answer)


def placed(folder: Path, loader: Loader) -> Path:
    """The path that the reader is given, in a folder that has nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / loader.file
    path.parent.mkdir(parents=True, mode=0o700)
    return path


def judged(name: str, loader: Loader, answer: Any, error: BaseException | None, due: Any = None) -> str:
    """What is wrong with how a reader took a file; "": nothing. due: what a sound file means."""
    if error is None:
        if any(answer is one or (isinstance(answer, type(one)) and answer == one) for one in loader.nothing):
            return ""
        same = due is not None and loader.meaning(answer) == due
        return "" if same or name in loader.takes else f"taken: {answer!r}"[:160]
    if not isinstance(error, loader.errors):
        return f"{type(error).__name__}: {error}"[:200]
    return "" if len(str(error)) > 10 else f"refused without a word: {error!r}"


def resident_mib() -> int:
    """The most that was resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def limit_memory() -> None:
    """No more address space than now and ROOM."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fed(
    watch: Watch,
    folder: Path,
    loader: Loader,
    name: str,
    make: Callable[[Path], object],
    due: Any = None,
    step_s: float = STEP_S,
) -> dict[str, Any]:
    """One file; what came of it."""
    path, error, answer = placed(folder, loader), None, None
    make(path)
    began, used, before = time.monotonic(), time.process_time(), resident_mib()
    signal.setitimer(signal.ITIMER_REAL, 3 * step_s)
    try:
        answer = watch.during(lambda: loader.act(path))
    except BaseException as caught:  # whatever it is, it is what we want to know
        error = caught
    signal.setitimer(signal.ITIMER_REAL, 0)
    wrong = judged(name, loader, answer, error, due)
    if (took := time.process_time() - used) > step_s:
        wrong = wrong or f"took {took:.1f} s"
    if (grown := resident_mib() - before) > GROWTH_MIB:
        wrong = wrong or f"took {grown} MiB"
    if watch.seen:
        wrong = f"ran code: {watch.seen[0]}"
    if any(Path(place, corpus.TRAP).exists() for place in (".", folder, folder.parent)):
        wrong = "ran code: the trap is there"
        shutil.rmtree(corpus.TRAP, ignore_errors=True)
    del answer, error
    return {"wrong": wrong, "seconds": round(time.monotonic() - began, 2)}


def run() -> None:
    """Do the task on standard input."""
    task = json.load(sys.stdin)
    loader, folder = (LOADERS | CARELESS)[task["loader"]], Path(task["folder"]) / "place"
    signal.signal(signal.SIGALRM, lambda number, frame: sys.exit("too slow"))
    watch = Watch()
    whole, due = sound(folder, loader) if loader.make else (b"", None)
    given = list(files(task, whole))
    if task["loader"] in LOADERS:  # whatever is imported late is imported now
        for _ in range(2):
            fed(watch, folder, loader, "before", lambda path: private(path, b"{}"))
    limit_memory()
    for name, make in given:
        print(json.dumps({"file": name}), flush=True)
        print(json.dumps(fed(watch, folder, loader, name, make, due, task["step_s"])), flush=True)
    print(json.dumps({"done": len(given), "rss_mib": resident_mib()}), flush=True)
