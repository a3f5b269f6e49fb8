"""Shared by all tests: where the recorded data lies, which files come first, how examples are run."""

from __future__ import annotations

import gc
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings
from upstox_tools import compiled_messages

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LONG = (
    "process/test_chain.py", "process/test_day.py", "process/test_front.py", "process/test_engine.py",
    "process/test_load.py", "process/test_engine_brokers.py", "process/test_face.py",
    "process/test_user_examples.py", "process/test_commands.py", "process/test_engine_hard.py",
    "sim/test_order_path.py", "conformance/test_kit.py",
)  # fmt: skip
"""Files of more than a minute, the longest first."""
ROOMS = ("process", "sim", "conformance", "property")

# Tests never assert on time: an example that a busy machine is slow with is no failure.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded data beside the project; a test that needs it skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"recorded data not found at {DATA} (it is not part of the product)")
    return DATA


@pytest.fixture(scope="session")
def pb(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Upstox's messages, compiled from our own .proto."""
    return compiled_messages(tmp_path_factory.mktemp("proto"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: workers take whole files, and the last of them shall be a short one."""
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(here)
        if path.as_posix() in LONG:
            return LONG.index(path.as_posix())
        room = path.parts[0]
        return len(LONG) + (ROOMS.index(room) if room in ROOMS else len(ROOMS))

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Thousands of tests and what they import stay to the end: no collection walks them again."""
    gc.collect()
    gc.freeze()
