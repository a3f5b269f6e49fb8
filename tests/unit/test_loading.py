"""Modules load without collections, and verbs that only look load no models of the configuration."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from kite_hft.loading import loading


@pytest.fixture
def seen() -> list[str]:
    """Every collection of garbage, while a test runs."""
    found: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        found.append(phase)

    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)


def test_nothing_is_collected_meanwhile_and_what_was_made_is_never_walked(seen: list[str]) -> None:
    before = gc.get_freeze_count()
    with loading():
        made = [[number] for number in range(5000)]
        assert not seen and not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(made)


def test_collections_go_on_where_loading_fails_and_stay_off_where_they_were() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "module", ["look.status", "look.orders", "look.positions", "look.alerts", "steer.halt", "steer.kill"]
)
def test_verbs_of_a_running_engine_load_no_models(module: str) -> None:
    heavy = ("pydantic", "structlog", "pyarrow", "numba", "aiohttp")
    code = f"import sys, kite_hft.app.{module}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_simulators_command_line_loads_no_simulator() -> None:
    code = (
        "import sys, kite_hft.sim.__main__ as sim; sim.parser(); print('aiohttp' in sys.modules); "
        "sim.main(['--list-faults'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *kinds = done.stdout.splitlines()
    assert first == "False" and len(kinds) > 3


def test_the_engines_log_needs_its_library_only_when_it_is_kept() -> None:
    code = "import sys, kite_hft.engine.command; print('structlog' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
