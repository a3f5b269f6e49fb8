"""Layer 6, by hand, cold: `kite-hft journal`: a journal as JSON lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.memory.journal import JournalError, dump


def journal(
    file: Annotated[Path, typer.Argument(help="journal.bin of a run folder (`latest` is the newest run)")],
) -> None:
    """Print a journal as JSON, one line per record: the header first, then how the file ends.

    Exit code 1: the file is no journal, or cannot be read.
    """
    try:
        for record in dump(file):
            print(json.dumps(record))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough
    except (JournalError, OSError) as error:
        print(f"kite-hft journal: {file}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
