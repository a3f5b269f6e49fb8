"""Layer 2, compute, cold: form B of a strategy, compiled by numba with the loop around it.

    class Mine(CompiledStrategy):
        PARAMS = np.dtype([("threshold", "<f8")])
        STATE = np.dtype([("order_seq", "<u8")])              # one per slot, zeroed
        on_tick = staticmethod(on_tick)                        # plain functions, or @njit ones; what they
                                                           # call in their module is compiled, too
        on_order = staticmethod(on_order)

    def on_tick(tick, kernel_row, state, position, params, out) -> n_intents
    def on_order(event, state, position) -> None

`tick` is a TICK, `kernel_row` its KERNEL_ROW, `position` a base.POSITION, `out` four blank INTENT
records whose strategy_seq already stands; write only as many as are returned. kind, side,
order_type, product, validity, flags, qty, px, signal are the strategy's; slot only where it is
not the tick's. No clock, no I/O, no writes to tick, kernel_row or position.

Exits are an intent of kind 5 (IntentKind.EXITS): trigger_px the stop, px the target, trail_px and step_px
of a trailing stop, deadline_ns (CLOCK_MONOTONIC, such as tick.recv_ns + 60 * 10**9) when the position is
closed, product; all of it 0 drops them. For instance, once there is a position:

    if position.qty > 0 and state.protected == 0:
        out[0].kind = 5
        out[0].product = 3                                     # MIS
        out[0].trigger_px = tick.last_px - params.stop_px
        out[0].trail_px, out[0].step_px = params.stop_px, params.step_px
        state.protected = 1
        return 1

numba is imported by `load()` only. The machine code is kept in `cache_dir` under a name that
holds everything it was made of; a later process finds it and compiles nothing (`Loop.compilations`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import stat
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kite_hft._intents import IntentBox
from kite_hft.layout import KERNEL_ROW, LAYOUT_FINGERPRINT, ORDER_EVENT, TICK
from kite_hft.strategies.base import POSITION
from kite_hft.strategies.history import History
from kite_hft.strategies.intents import Outbox, Records
from kite_hft.strategies.slots import SlotFacts


class CompiledStrategyError(ValueError):
    """A compiled strategy that cannot be loaded; the message says why."""


class CompiledStrategy:
    """Dtypes and two functions; see the module's head. Parameters are given by name."""

    name: ClassVar[str] = "compiled"
    indices: ClassVar[bool] = True  # as BaseStrategy.indices
    history: History | None = None  # as BaseStrategy.history; `fresh` puts what it needs of it into STATE
    PARAMS: ClassVar[np.dtype[np.void]]
    STATE: ClassVar[np.dtype[np.void]]
    on_tick: ClassVar[Callable[..., int]]
    on_order: ClassVar[Callable[..., None]]

    def __init__(self, **params: Any) -> None:
        self.params = self.pack(params)

    def prepare(self, facts: SlotFacts) -> None:
        """Before anything else: grids and the end of the day of every slot, from master and calendar."""

    def fresh(self, scales: npt.NDArray[np.float64]) -> Records:
        """STATE of every slot at the start of a session; scales: (n_slots,) units per currency unit."""
        return np.zeros(len(scales), self.STATE)

    def pack(self, params: Mapping[str, Any]) -> Records:
        """Parameters as one PARAMS record, shape (1,).

        Raises:
            CompiledStrategyError: an unknown name.
        """
        names = self.PARAMS.names or ()
        if unknown := set(params) - set(names):
            raise CompiledStrategyError(
                f"{self.name}: no parameter {sorted(unknown)}; known: {sorted(names)}"
            )
        record = np.zeros(1, self.PARAMS)
        for name, value in params.items():
            record[name] = value
        return record


@dataclass(frozen=True, slots=True)
class Loop:
    """The two compiled loops of one strategy; arguments as in loop.py."""

    run_ticks: Any
    run_events: Any

    @property
    def entry(self) -> Any:
        """run_ticks for one who has an integer and nothing else to give: its one compiled function,
        without the dispatcher that looks for the right one among its kinds of arguments."""
        (compiled,) = self.run_ticks.overloads.values()
        return compiled.entry_point

    @property
    def compilations(self) -> int:
        """How many functions this process compiled because the cache did not hold them."""
        return sum(sum(f.stats.cache_misses.values()) for f in (self.run_ticks, self.run_events))

    @property
    def cache_hits(self) -> int:
        """How many functions came from the cache."""
        return sum(sum(f.stats.cache_hits.values()) for f in (self.run_ticks, self.run_events))


_LOADED: dict[Path, Loop] = {}
"""Loops of this process, by their file: a worker that was held in reserve has them already."""


def addresses_of(*arrays: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """First bytes of contiguous arrays, in the order that loop.run_ticks unpacks them:

    ticks, rows, subscribed, states, positions, params, out, where, blank, event.
    The arrays must outlive every use of the addresses.
    """
    if len(arrays) != 10 or not all(array.flags.c_contiguous for array in arrays):
        raise CompiledStrategyError("need ten contiguous arrays")
    return np.array([array.ctypes.data for array in arrays], np.int64)


def call_of(
    addresses: npt.NDArray[np.int64], n_slots: int, strategy: int, box: IntentBox
) -> npt.NDArray[np.int64]:
    """What both loops are told, in the order of intents.CALL_WORDS; rows for each tick, no ticks yet.

    The box must outlive every use of it.
    """
    return np.array([*addresses, n_slots, 1, strategy, box.address, 0], np.int64)


def load(strategy: CompiledStrategy, cache_dir: Path, ticks: np.dtype[np.void] = TICK) -> Loop:
    """Compile (or fetch from the cache) the loops of `strategy`, ready to run.

    cache_dir: a folder of our own, made with mode 0700; numba keeps its files in it.
    ticks: the records of the batch: TICK, or compact rows (memory.recording.ROW), which have its
    first 64 bytes only: a strategy that reads other fields cannot be compiled for them.

    Raises:
        CompiledStrategyError: the folder is not ours alone, or numba cannot compile the strategy.
    """
    import numba  # only workers that run a compiled strategy pay for it

    _own_folder(cache_dir)
    source = Path(__file__).with_name("loop.py").read_text()
    path = cache_dir / f"{_loop_name(strategy, source, ticks)}.py"
    if path in _LOADED:
        return _LOADED[path]
    config: Any = numba.config  # its members are made at run time
    config.CACHE_DIR = str(cache_dir)
    module: Any = _loop_module(path, source)
    options = {"nogil": True, "error_model": "numpy"}
    module.PARAMS, module.STATE, module.TICK = strategy.PARAMS, strategy.STATE, ticks
    module.on_tick = _dispatcher(numba, strategy.on_tick, options)
    module.on_order = _dispatcher(numba, strategy.on_order, options)
    loop = Loop(module.run_ticks, module.run_events)
    try:
        _compile(loop, strategy, ticks)
    except numba.core.errors.NumbaError as error:
        raise CompiledStrategyError(f"{strategy.name} cannot be compiled: {error}") from error
    except KeyError as error:  # numba's word for a field that a record does not have
        raise CompiledStrategyError(
            f"{strategy.name} cannot be compiled: no field {error} in the record it is read from"
            + (" (compact rows have the first 64 bytes of a TICK only)" if ticks != TICK else "")
        ) from error
    _LOADED[path] = loop
    return loop


def _own_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise CompiledStrategyError(f"{path} must be a folder of this user with mode 0700")


def _dispatcher(numba: Any, function: Any, options: dict[str, Any]) -> Any:
    """`function` for the machine, with the plain functions of its module that it calls."""
    if hasattr(function, "py_func"):
        return function
    called = {
        name: _dispatcher(numba, found, options)
        for name in function.__code__.co_names
        if isinstance(found := function.__globals__.get(name), types.FunctionType)
    }
    if called:
        everything = {**function.__globals__, **called}
        function = types.FunctionType(
            function.__code__, everything, function.__name__, function.__defaults__, function.__closure__
        )
    return numba.njit(**options)(function)


def _loop_name(strategy: CompiledStrategy, source: str, ticks: np.dtype[np.void]) -> str:
    """A module name that changes with anything the machine code depends on."""
    digest = hashlib.sha256(source.encode())
    digest.update(
        f"{LAYOUT_FINGERPRINT} {ticks.itemsize} {strategy.PARAMS.descr} {strategy.STATE.descr} "
        f"{POSITION.descr}".encode()
    )
    for function in (strategy.on_tick, strategy.on_order):
        digest.update(_described(function, set()).encode())
    return f"khft_loop_{strategy.name}_{digest.hexdigest()[:16]}"


def _loop_module(path: Path, source: str) -> types.ModuleType:
    """loop.py as the module `path`."""
    if not path.exists() or path.read_text() != source:
        fresh = path.with_suffix(f".{os.getpid()}")  # another process may be doing the same
        fresh.write_text(source)
        fresh.replace(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CompiledStrategyError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where numba looks for it when it loads machine code
    spec.loader.exec_module(module)
    return module


def _described(function: Any, seen: set[int]) -> str:
    """Code and constants of a function and of all that it calls: numba freezes them at compilation."""
    plain = getattr(function, "py_func", function)
    if id(plain) in seen:
        return ""
    seen.add(id(plain))
    code = plain.__code__
    constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    text = [plain.__qualname__, code.co_code.hex(), repr(constants), repr(code.co_names)]
    cells = inspect.getclosurevars(plain)
    for name, value in sorted({**cells.globals, **cells.nonlocals}.items()):
        if hasattr(value, "py_func") or isinstance(value, types.FunctionType):
            text.append(f"{name}: {_described(value, seen)}")
        elif not isinstance(value, types.ModuleType):
            text.append(f"{name} = {value!r}")
    return "\n".join(text)


def _compile(loop: Loop, strategy: CompiledStrategy, ticks: np.dtype[np.void]) -> None:
    """Run both loops over nothing: the types are those of every later call."""
    one = {dtype: np.zeros(1, dtype) for dtype in (ticks, KERNEL_ROW, ORDER_EVENT)}
    box = Outbox(0, 0)
    arrays = (
        one[ticks],
        one[KERNEL_ROW],
        np.zeros(1, np.uint8),
        np.zeros(1, strategy.STATE),
        np.zeros(1, POSITION),
        strategy.params,
        box.records,
        box.tick_index,
        box.blank,
        one[ORDER_EVENT],
    )
    call = call_of(addresses_of(*arrays), 1, 0, box)
    loop.run_ticks(call.ctypes.data)
    loop.run_events(call.ctypes.data, one[ORDER_EVENT].ctypes.data, 0)
