"""Layer 6, by hand, cold: `kite-hft journal`: a journal as JSON lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app.answering import NOT_SO, JsonOption, print_json, refuse
from kite_hft.memory.journal import JournalError, dump


def journal(
    file: Annotated[Path, typer.Argument(help="journal.bin of a run folder (`latest` is the newest run)")],
    as_json: JsonOption = False,
) -> None:
    """Print a journal as JSON, one line per record: the header first, then how the file ends.

    With --json it is one object, with the lines as its `records`.

    Exit codes: 0 printed, 1 the file is no journal, or cannot be read.
    """
    try:
        if file.exists() and not file.is_file():
            raise refuse("journal", f"{file} is no file; name a journal.bin", NOT_SO)
        if as_json:
            return print_json({"records": list(dump(file))})
        for record in dump(file):
            print(json.dumps(record))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough
    except OSError as error:
        raise refuse("journal", f"{file}: {error.strerror}", NOT_SO) from None
    except JournalError as error:
        raise refuse("journal", f"{file}: {error}", NOT_SO) from None
