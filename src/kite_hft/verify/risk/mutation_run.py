"""Layer 6, by hand, cold: runs the tests of a module against its mutants, several at a time.

A fresh process per module (`main`: a job as JSON on standard input, answers as lines on standard output)
imports once what does not depend on the module. Each mutant is a fork of it, in which the mutant's source
is put in the module's place before the tests are imported; no file is changed. A first run without any
change tells how long each test takes, and which functions of the module it enters: a mutant is then asked
of the tests that enter its function only, up to the first failure: of the files that have found the most
mutants of the module first, and in a file of the shortest tests first. What a module runs at
its import, and what runs in a fixture of more than one test, concerns all of them.

Hypothesis draws the same examples for each mutant, and does not shrink what it finds.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from kite_hft.verify.campaign import ROOT, CampaignError

LOOK_S: Final = 0.1
BASELINE_LIMIT_S: Final = 600.0
FAILED: Final = frozenset({1, 2})
"""Exit codes of pytest: a test failed; a test file could not be imported."""
NOTHING_FAILED: Final = frozenset({0, 5})
"""All passed; there was no test to run."""
HEAVY: Final = ("numpy", "hypothesis", "msgspec", "pydantic", "yaml")
AT_IMPORT: Final = ""
"""In place of a test: entered at import, or for several tests."""
WORDS: Final = (
    "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-x", "-q", "--no-header", "--tb=no",
    "--assert=plain", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:randomly",
    "-p", "no:xdist", "-p", "no:faulthandler",
)  # fmt: skip


@dataclass(slots=True)
class Learned:
    """Of the run without a change. seconds: of each test. entered: outermost function -> tests."""

    seconds: dict[str, float] = field(default_factory=dict)
    entered: dict[str, list[str]] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    whole_s: float = 0.0

    def tests_of(self, function: str) -> list[str]:
        """Tests that can see a change of `function` ("": of what is run at import), shortest first."""
        everywhere = not function or AT_IMPORT in self.entered.get(function, ())
        chosen = self.seconds if everywhere else self.entered.get(function, ())
        return sorted(chosen, key=self.seconds.__getitem__)


@dataclass(slots=True)
class Answer:
    """What the tests say. by: the test that failed; "hangs", "dies" otherwise, "": none did."""

    found: bool
    by: str
    seconds: float


@dataclass(slots=True)
class _Child:
    number: int
    pid: int
    pipe: int
    began: float
    limit_s: float
    heard: bytes = b""


class _Loader(importlib.abc.Loader):
    """A module from a text."""

    def __init__(self, source: str, path: str) -> None:
        self._source, self._path = source, path

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._path, "exec"), module.__dict__)


class Instead:
    """Finds one module in a text of ours. Without a text: refuses to find it."""

    def __init__(self, name: str, source: str | None, path: Path) -> None:
        self._name, self._source, self._path = name, source, str(path)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        if self._source is None:
            raise ImportError(f"{name} is kept out")
        return importlib.util.spec_from_file_location(
            name, self._path, loader=_Loader(self._source, self._path)
        )


class _Order:
    """Leaves the chosen tests, in their order; tells the first that fails."""

    def __init__(self, chosen: Sequence[str] | None, tell: Callable[[str], None]) -> None:
        self._rank = None if chosen is None else {name: at for at, name in enumerate(chosen)}
        self._tell = tell

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if (rank := self._rank) is not None:
            items[:] = sorted((i for i in items if test_name(i) in rank), key=lambda i: rank[test_name(i)])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Generator[None, Any, Any]:
        report = yield
        if report.failed:
            self._tell(test_name(item))
        return report

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._tell(f"{ROOT / report.fspath}::import")


class _Listener:
    """Writes down which functions of a file each test enters, and how long it takes."""

    def __init__(self, path: Path) -> None:
        self._path, self.now = str(path), AT_IMPORT
        self.entered: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}

    def listen(self) -> None:
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def _enter(self, frame: Any, event: str, arg: Any) -> None:
        code = frame.f_code
        if code.co_filename == self._path and not code.co_qualname.startswith("<"):
            function = code.co_qualname.partition(".<locals>")[0]
            self.entered.setdefault(function, set()).add(self.now)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.now, began = test_name(item), time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[self.now] = time.perf_counter() - began
            self.now = AT_IMPORT

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        before = self.now
        self.now = before if fixturedef.scope == "function" else AT_IMPORT
        try:
            return (yield)
        finally:
            self.now = before


def test_name(item: Any) -> str:
    """File and name of a test; pytest's own has no path where a file lies outside of the project."""
    return f"{item.path}::{item.nodeid.partition('::')[2]}"


def path_of(module: str) -> Path:
    """The file of a module of the product, by its name without `kite_hft.`."""
    return ROOT / "src/kite_hft" / f"{module.replace('.', '/')}.py"


def learn(module: str, tests: Sequence[str]) -> Learned:
    """Run all tests of a module as it is.

    Raises:
        CampaignError: one of them fails, or there is none.
    """
    began = time.monotonic()
    listener = _Listener(path_of(module))

    def run(tell: Callable[[str], None]) -> int:
        listener.listen()
        code = int(pytest.main([*WORDS, *tests], plugins=[_Order(None, tell), listener]))
        sys.settrace(None)
        loaded = [name for name in sys.modules if name != "__main__"]
        entered = {function: sorted(names) for function, names in listener.entered.items()}
        tell(json.dumps([listener.seconds, entered, loaded]))
        return code

    child = _fork(0, BASELINE_LIMIT_S, run)
    code = _follow(child)
    *failed, told = child.heard.decode().splitlines() or [""]
    if code != 0:
        why = " ".join(failed) or f"exit code {code}"
        raise CampaignError(f"{module}: its tests do not pass as it is: {why}; {' '.join(tests)}")
    seconds, entered, loaded = json.loads(told)
    return Learned(seconds, entered, loaded, time.monotonic() - began)


def answers(
    jobs: Iterable[tuple[int, str, Sequence[str]]], module: str, *, limit_s: float, processes: int
) -> Iterator[tuple[int, Answer]]:
    """Run (number, source, names of tests, the shortest first); yields each answer as it comes.

    Raises:
        CampaignError: the tests could not be run at all.
    """
    waiting, running = iter(jobs), dict[int, _Child]()
    finds: Counter[str] = Counter()  # of each file
    try:
        while True:
            while len(running) < processes and (job := next(waiting, None)) is not None:
                number, source, chosen = job
                if chosen:
                    child = _fork(number, limit_s, _mutated(module, source, by_file(chosen, finds)))
                    running[child.pipe] = child
                else:
                    yield number, Answer(False, "", 0.0)
            if not running:
                return
            select.select(list(running), [], [], LOOK_S)
            for pipe, child in list(running.items()):
                if (answer := _ended(child)) is not None:
                    del running[pipe]
                    finds[_file_of(answer.by)] += answer.found
                    yield child.number, answer
    finally:
        for child in running.values():
            _kill(child)


def by_file(chosen: Iterable[str], finds: Mapping[str, int]) -> list[list[str]]:
    """Tests by their files: first those that have found the most mutants, then those with the fewest."""
    files: dict[str, list[str]] = {}
    for name in chosen:
        files.setdefault(_file_of(name), []).append(name)
    return sorted(files.values(), key=lambda names: (-finds.get(_file_of(names[0]), 0), len(names)))


def _file_of(name: str) -> str:
    return name.partition("::")[0]


def host(module: str, loaded: Iterable[str]) -> None:
    """Import everything of `loaded` that does not depend on `module`, for all forks to come."""
    barrier = Instead(f"kite_hft.{module}", None, path_of(module))

    def attempt(tell: Callable[[str], None]) -> int:
        sys.meta_path.insert(0, barrier)
        for name in loaded:
            try:
                importlib.import_module(name)
            except Exception:
                continue
            tell(name)
        return 0

    child = _fork(0, BASELINE_LIMIT_S, attempt)
    _follow(child)
    for name in child.heard.decode().split():
        with contextlib.suppress(ImportError):  # made by the import of another one
            importlib.import_module(name)
    gc.freeze()


def _mutated(
    module: str, source: str, files: Sequence[Sequence[str]]
) -> Callable[[Callable[[str], None]], int]:
    def run(tell: Callable[[str], None]) -> int:
        sys.meta_path.insert(0, Instead(f"kite_hft.{module}", source, path_of(module)))
        for names in files:
            code = int(pytest.main([*WORDS, _file_of(names[0])], plugins=[_Order(names, tell)]))
            if code not in NOTHING_FAILED:
                return code
        return 0

    return run


def _fork(number: int, limit_s: float, run: Callable[[Callable[[str], None]], int]) -> _Child:
    """`run` in a process of its own, which says what it has to say through a pipe."""
    begin, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setpgid(0, 0)  # with whatever a test starts
            quiet = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(quiet, fd)
            os.chdir(ROOT)
            _same_examples()
            code = run(lambda words: _write(end, f"{words}\n".encode()))
        finally:
            os._exit(code)
    os.close(end)
    os.set_blocking(begin, False)
    return _Child(number, pid, begin, time.monotonic(), limit_s)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _same_examples() -> None:
    """The same ones each time, and none the worse for a busy machine."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    settings.load_profile("mutation")


def _ended(child: _Child) -> Answer | None:
    """What a child has found, when it has ended or its time is over."""
    code = _hear(child)
    seconds = time.monotonic() - child.began
    if code is None and seconds <= child.limit_s:
        return None
    _kill(child)
    by = child.heard.decode("utf-8", "replace").partition("\n")[0]
    if code is None:
        os.waitpid(child.pid, 0)
    os.close(child.pipe)
    if code is None or code < 0:
        return Answer(True, "hangs" if code is None else "dies", seconds)
    if code in NOTHING_FAILED:
        return Answer(False, "", seconds)
    if code in FAILED and by:
        return Answer(True, by, seconds)
    raise CampaignError(f"pytest ended with code {code} and names no test {by!r}")


def _kill(child: _Child) -> None:
    """End a child and whatever its tests have started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _hear(child: _Child) -> int | None:
    """Take what a child says; its exit code when it has ended."""
    ended, status = os.waitpid(child.pid, os.WNOHANG)
    with contextlib.suppress(BlockingIOError):
        while more := os.read(child.pipe, 65536):
            child.heard += more
    return os.waitstatus_to_exitcode(status) if ended else None


def _follow(child: _Child) -> int:
    """Hear a child to its end; returns its exit code.

    Raises:
        CampaignError: it takes too long.
    """
    while (code := _hear(child)) is None:
        if time.monotonic() - child.began > child.limit_s:
            _kill(child)
            raise CampaignError(f"the tests as they are take longer than {child.limit_s:.0f} s")
        select.select([child.pipe], [], [], LOOK_S)
        time.sleep(0.001)  # a pipe that is closed is always ready
    os.close(child.pipe)
    return code


def main() -> int:
    """One module; a job on standard input, one JSON object:

        module, tests    name without `kite_hft.`; paths
        jobs             [function, source] of each mutant
        processes        mutants tried at the same time
        limit_s          what takes longer, and longer than five times the run as it is, hangs

    On standard output {"tests", "seconds"} of the run as it is, then [number, found, by, seconds] of each
    mutant; or {"error"}.
    """
    job = json.load(sys.stdin)
    module, processes = job["module"], job["processes"]
    for name in HEAVY:
        importlib.import_module(name)
    try:
        learned = learn(module, job["tests"])
        _say({"tests": len(learned.seconds), "seconds": learned.whole_s})
        host(module, learned.loaded)
        limit_s = max(job["limit_s"], 5 * learned.whole_s)
        rows = ((n, source, learned.tests_of(function)) for n, (function, source) in enumerate(job["jobs"]))
        for number, answer in answers(rows, module, limit_s=limit_s, processes=processes):
            _say([number, answer.found, answer.by, round(answer.seconds, 2)])
    except CampaignError as error:
        _say({"error": str(error)})
        return 1
    return 0


def _say(words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    sys.exit(main())
