"""Layer 5, supervisor, cold: the calls of a run counted once more, from evidence.csv alone.

For report.json, and for whoever wants to check a run by hand:

    python -m kite_hft.engine.runs.recount RUN_FOLDER/evidence.csv RULES.yaml

Shares no code with the throttle: it reads the file's times and slides each window of the rules file
over them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kite_hft.configuring.yaml_files import load_yaml


def most_in(times: Sequence[int], span_ns: float) -> int:
    """Most of the sorted `times` that lie less than `span_ns` apart, first to last."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= span_ns:
            first += 1
        most = max(most, last - first + 1)
    return most


def recount(text: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    """What left, by kind, and the fullest that each window of `rules` ever was; `text`: of the file.

    exceeded: windows that were passed; empty is the proof that none was. reserved: of `allowed` those that
    openings leave to cancels and exits.
    """
    times: dict[str, list[int]] = {"all": [], "order": [], "read": []}
    kinds: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
        if row["call"] == "BEGIN":
            continue
        kinds[row["call"]] = kinds.get(row["call"], 0) + 1
        mono_ns = int(row["mono_ns"])
        times["all"].append(mono_ns)
        times["read" if row["part"] == "read" else "order"].append(mono_ns)
    windows = []
    for key, which in (("all_windows", "all"), ("order_windows", "order"), ("other_windows", "read")):
        for window in rules.get(key, ()):
            most = most_in(sorted(times[which]), window["window_s"] * 1e9)
            kept = window.get("reserved", 0)
            windows.append(
                {"of": which, "window_s": window["window_s"], "allowed": window["calls"], "most": most,
                 "reserved": kept}
            )  # fmt: skip
    return {
        "calls": len(times["all"]),
        "by_kind": dict(sorted(kinds.items())),
        "windows": windows,
        "exceeded": [row for row in windows if row["most"] > row["allowed"]],
    }


def recount_run(path: Path, rules: Path) -> dict[str, Any]:
    """The same of files; what cannot be read is said under `unread`."""
    try:
        return recount(path.read_text(errors="replace"), load_yaml(rules))
    except (OSError, KeyError, ValueError, TypeError) as error:
        return {"unread": f"{path.name}: {error}"}


def main(argv: Sequence[str]) -> int:
    """One JSON line; 1 when a window was passed or the file cannot be read."""
    if len(argv) != 2 or argv[0] in {"-h", "--help"}:
        print(__doc__)
        return 0 if argv and argv[0] in {"-h", "--help"} else 2
    found = recount_run(Path(argv[0]), Path(argv[1]))
    print(json.dumps(found))
    return int("unread" in found or bool(found["exceeded"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
