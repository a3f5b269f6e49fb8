"""Layer 0, every process, cold: modules load without collections of garbage in between."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While modules load. What they make stays, and collections would walk it again and again, a tenth of the
    time of a start; afterwards no collection walks it either, whatever the process does then."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
