"""Layer 5, supervisor and children, cold: how each process waits for work, and on which core it runs.

`places_of` decides (pure: from settings, processes and cores); `settle` is called by each process
when it starts its work. What cannot be had is left out, with a reason: an engine without a wish
fulfilled still trades. Reasons stand in the log and in report.json ("placing").

The first core is for the house (supervisor, recorder, simulator, the kernel's own work) as long as
the feeds, workers and ORDERS, the hot processes, have one each without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:  # children load this to take their places, and no configuration
    from kite_hft.settings import Settings

HOT: Final = ("feed", "compute", "orders")
HOUSE_CORES: Final = 1
SPINNING: Final = frozenset({"spin", "yield"})
"""Ways to wait that never sleep."""

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
CAP_IPC_LOCK: Final = 14

Row = dict[str, Any]
"""asked, got, and (where it is not what was asked, or was chosen by `auto`) why."""


class Placed(Protocol):
    """A process of the plan."""

    @property
    def name(self) -> str: ...
    @property
    def stages(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Of one process. wait: how it waits. core: it alone may run there, None: wherever it likes in
    `cores` (empty: anywhere). refused: what was asked for and is not even tried, and why."""

    wait: str
    wait_asked: str
    hot: bool = True
    why_wait: str = ""
    core: int | None = None
    core_asked: int | str | None = None
    cores: tuple[int, ...] = ()
    realtime: int | None = None
    realtime_asked: int | None = None
    lock_memory: bool = False
    refused: tuple[tuple[str, str], ...] = ()


def is_hot(process: Placed) -> bool:
    """Whether ticks or orders go through it."""
    return any(stage in HOT for stage in process.stages)


def has_cores_of_their_own(hot: int, cores: int) -> bool:
    """Whether `hot` processes can have a core each and leave one for the house."""
    return cores >= hot + HOUSE_CORES


def wait_asked(settings: Settings, stages: Sequence[str]) -> str:
    """What the configuration says of a process: its first stage waits, the others are stepped by it."""
    performance = settings.performance
    return str(performance.waits.get(stages[0], performance.wait))  # type: ignore[call-overload]


def places_of(
    settings: Settings, processes: Sequence[Placed], core_numbers: Sequence[int]
) -> dict[str, Place]:
    """The place of each process, by name. core_numbers: the cores that the engine may use, ascending."""
    hot = [process for process in processes if is_hot(process)]
    pins, whys = _pins(settings, processes, hot, core_numbers)
    waits = _waits(settings, hot, pins, len(core_numbers))
    free = tuple(core for core in core_numbers if core not in pins.values()) or tuple(core_numbers[:1])
    places = {}
    for process in processes:
        wait, why = waits.get(process.name, ("park", ""))
        refused = [("core", whys[process.name])] if process.name in whys else []
        realtime = settings.performance.realtime_priority if process in hot else None
        sleeps = wait not in SPINNING
        if realtime is not None and not sleeps:
            refused.append(("realtime_priority", _SPINS_REALTIME.format(wait=wait)))
        places[process.name] = Place(
            wait=wait,
            wait_asked=wait_asked(settings, process.stages) if process in hot else "park",
            hot=process in hot,
            why_wait=why,
            core=pins.get(process.name),
            core_asked=_core_asked(settings, process.name, is_hot=process in hot),
            cores=free if pins else (),
            realtime=realtime if sleeps else None,
            realtime_asked=realtime,
            lock_memory=settings.performance.lock_memory,
            refused=tuple(refused),
        )
    return places


_SPINS_REALTIME: Final = (
    "it waits by {wait} and never sleeps: with realtime priority nothing else, the kernel's own work "
    "included, would run on its core; choose wait park or adaptive, or isolate the core (isolcpus)"
)


def _core_asked(settings: Settings, name: str, *, is_hot: bool) -> int | str | None:
    pin = settings.performance.pin
    if isinstance(pin, dict):
        return pin.get(name)
    return pin if pin == "auto" and is_hot else None


def _pins(
    settings: Settings, processes: Sequence[Placed], hot: Sequence[Placed], cores: Sequence[int]
) -> tuple[dict[str, int], dict[str, str]]:
    """(process -> core, process -> why it has none although one was asked for)."""
    pin = settings.performance.pin
    if pin == "off":
        return {}, {}
    if isinstance(pin, dict):
        known = {process.name for process in processes}
        pins = {name: core for name, core in pin.items() if name in known and core in cores}
        whys = {
            name: f"the engine may not run on core {core}; it may on {_ranges(cores)}"
            for name, core in pin.items()
            if name in known and core not in cores
        }
        return pins, whys
    names = [process.name for process in hot]
    if has_cores_of_their_own(len(hot), len(cores)):
        return dict(zip(names, cores[HOUSE_CORES:], strict=False)), {}
    if len(cores) == len(hot) > 1:
        # ORDERS is the last in the flow and works least: it shares the first core with the house.
        return dict(zip(names, [*cores[1:], cores[0]], strict=True)), {}
    why = (
        f"{_count(len(hot), 'hot process', 'es')} on {_count(len(cores), 'core')}: the scheduler places them"
    )
    return {}, dict.fromkeys(names, why)


def unknown_pins(settings: Settings, processes: Sequence[Placed]) -> list[str]:
    """Names in performance.pin that are no process of the plan."""
    pin = settings.performance.pin
    names = {process.name for process in processes}
    return sorted(set(pin) - names) if isinstance(pin, dict) else []


def _waits(
    settings: Settings, hot: Sequence[Placed], pins: Mapping[str, int], cores: int
) -> dict[str, tuple[str, str]]:
    """Process -> (how it waits, why)."""
    asked = {process.name: wait_asked(settings, process.stages) for process in hot}
    spinning = sum(wait == "spin" for wait in asked.values())
    on_core = Counter(pins[name] for name, wait in asked.items() if wait == "spin" and name in pins)
    softer = "adaptive" if cores > 1 else "park"
    found = {}
    for name, wait in asked.items():
        if wait == "auto":
            found[name] = _auto(len(hot), cores)
        elif wait != "spin":
            found[name] = wait, ""
        elif cores == 1:
            found[name] = softer, "spin on the only core keeps away what it waits for"
        elif spinning > cores:
            found[name] = softer, f"{spinning} processes would spin on {_count(cores, 'core')}"
        elif on_core[pins.get(name, -1)] > 1:
            found[name] = softer, f"another process spins on core {pins[name]}"
        else:
            found[name] = wait, ""
    return found


def _auto(hot: int, cores: int) -> tuple[str, str]:
    if cores == 1:
        return "park", "one core: whoever waits must give it away"
    needed = hot + HOUSE_CORES
    if has_cores_of_their_own(hot, cores):
        return "spin", f"{_count(cores, 'core')}, {needed} needed to spin"
    # Looking for a while before sleeping takes the core that the others need: it lost to park in every
    # measured row but one (benchmarks/bench_packing.py).
    return "park", f"{_count(cores, 'core')}, {needed} needed to spin"


def describe(places: Mapping[str, Place]) -> str:
    """For the plan's line: how the hot processes wait, and where they are pinned."""
    by_wait: dict[str, list[str]] = {}
    for name, place in places.items():
        if place.hot:
            by_wait.setdefault(place.wait, []).append(name)
    reasons = sorted({place.why_wait for place in places.values() if place.why_wait})
    if len(by_wait) == 1:
        text = next(iter(by_wait))
    else:
        text = ", ".join(f"{' and '.join(names)}: {wait}" for wait, names in by_wait.items())
    text = f"waiting: {text}" + "".join(f" ({reason})" for reason in reasons)
    pins = ", ".join(f"{name} to {place.core}" for name, place in places.items() if place.core is not None)
    return text + (f", pinned: {pins}" if pins else "")


def _count(n: int, word: str, plural: str = "s") -> str:
    return f"{n} {word}{plural * (n != 1)}"


def _ranges(numbers: Sequence[int]) -> str:
    """Core numbers as people write them: 0-3,8."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in found)


# In the process itself


def settle(place: Mapping[str, Any]) -> dict[str, Row]:
    """Put the calling thread where its Place (as a dict) says; returns what was asked and what it got.

    Call it when the process's other threads have been started: they stay off the pinned core.
    """
    wait: Row = {"asked": place["wait_asked"], "got": place["wait"]}
    rows = {"wait": wait | ({"why": place["why_wait"]} if place["why_wait"] else {})}
    refused = dict(place["refused"])
    if place["core_asked"] is not None:
        got, why = (None, refused["core"]) if "core" in refused else _try(_pin, place["core"])
        rows["core"] = _row(place["core_asked"], got, why)
    elif place["cores"]:
        _try(_keep_off, place["cores"])
    if place["realtime_asked"] is not None:
        asked = place["realtime"]
        got, why = (None, refused["realtime_priority"]) if asked is None else _try(_realtime, asked)
        rows["realtime_priority"] = _row(place["realtime_asked"], got, why)
    if place["lock_memory"]:
        got, why = _try(_lock_memory, True)
        rows["lock_memory"] = _row(True, bool(got), why)
    return rows


def keep_off(place: Mapping[str, Any]) -> None:
    """Let the calling thread, and all that it starts, run on the cores that no hot process has."""
    if place["cores"]:
        _try(_keep_off, place["cores"])


def complaints(name: str, rows: Mapping[str, Row]) -> list[str]:
    """One line for each wish that was not fulfilled."""
    return [
        f"{name}: {wish} {row['asked']} is not given: {row['why']}"
        for wish, row in rows.items()
        if row["got"] is None or row["got"] is False or row["asked"] not in ("auto", row["got"])
    ]


def _row(asked: Any, got: Any, why: str) -> Row:
    return {"asked": asked, "got": got} | ({"why": why} if why else {})


def _try(act: Callable[[Any], None], wish: Any) -> tuple[Any, str]:
    try:
        act(wish)
    except OSError as error:
        return None, error.strerror or str(error)
    return wish, ""


def _pin(core: int) -> None:
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise OSError(error.errno, f"core {core}: {error.strerror}") from None


def _keep_off(cores: Sequence[int]) -> None:
    os.sched_setaffinity(0, set(cores))


def _realtime(priority: int) -> None:
    # What this thread starts later is an ordinary thread again.
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError as error:
        text = f"not permitted: raise the limit (ulimit -r {priority}, LimitRTPRIO=) or grant CAP_SYS_NICE"
        raise OSError(error.errno, text) from None


def may_lock_memory() -> bool:
    """Whether this process may lock as much as it likes."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        effective = next(line for line in lines if line.startswith("CapEff:")).split()[1]
        return bool(int(effective, 16) >> CAP_IPC_LOCK & 1)
    return False


def _lock_memory(_wish: bool) -> None:
    """No page that was used once is swapped out. Below a limit it is not tried: a later allocation
    beyond it would fail, and with it the process."""
    if not may_lock_memory():
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] >> 20
        text = f"the limit is {limit} MiB: lift it (ulimit -l unlimited, LimitMEMLOCK=infinity)"
        raise OSError(1, text)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
