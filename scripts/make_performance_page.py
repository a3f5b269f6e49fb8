"""Writes docs/performance.md and its pictures from the committed results of the benchmarks.

    python scripts/make_performance_page.py [--machine FOLDER]

Reads benchmarks/results/<machine>/*.json (made by `make bench`, `benchmarks/load_test.py --json` and
`benchmarks/growth.py`) and writes nothing that does not stand there. Needs the extra `bench`
(matplotlib).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "performance.md"
PICTURES: Final = ROOT / "docs" / "pictures"
TEXT: Final = ROOT / "docs" / "performance.text"
OURS: Final = "kite_hft"
INK, GREY, RIVAL = "#0b5d7a", "#888888", "#c9a227"

sys.path.insert(0, str(ROOT / "benchmarks"))


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Every result of a machine, by name.

    Raises:
        SystemExit: there is none.
    """
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    if not found:
        sys.exit(f"performance page: no results in {folder}; run `make bench` first")
    return found


def rows(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(bench, row) of all benches, in the order of benchmarks/run.py."""
    from run import ORDER

    names = [name for name in ORDER if name in found] + sorted(set(found) - set(ORDER))
    for name in names:
        for row in found[name].get("rows", ()):
            yield name, row


def number(value: float) -> str:
    """Three significant digits, with k, M, G."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def target_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Asked, reached, command, one line a target."""
    lines = ["| row | asked | reached | | command |", "|---|---|---|---|---|"]
    for name, row in rows(found):
        for target in row["targets"]:
            reached = "not measured" if target["reached"] is None else f"{target['reached']:.3g}"
            mark = {True: "reached", False: "**missed**", None: ""}[target["met"]]
            command = f"`python benchmarks/bench_{name}.py`"
            lines.append(f"| {row['name']} | {target['asked']} | {reached} | {mark} | {command} |")
    return lines


def figure_table(row: dict[str, Any]) -> list[str]:
    """One row with all contenders: median, spread, ratio of ours."""
    lines = [f"| {row['unit']} | median | spread | ours is |", "|---|---|---|---|"]
    for name, figure in row["figures"].items():
        ratio = row["ratios"].get(name)
        times = f"{ratio['median']:.3g} x ({ratio['min']:.3g} to {ratio['max']:.3g})" if ratio else ""
        label = f"**{name}**" if name == OURS else name
        span = f"{number(figure['min'])} to {number(figure['max'])}"
        lines.append(f"| {label} | {number(figure['median'])} | {span} | {times} |")
    for name in sorted(set(row["notes"]) - set(row["figures"])):
        lines.append(f"| {name} | not measured | | {row['notes'][name]} |")
    return lines


def bars(row: dict[str, Any], path: Path) -> None:
    """All contenders of a row, logarithmic, ours in its own colour."""
    import matplotlib.pyplot as plt

    figures = sorted(
        row["figures"].items(), key=lambda pair: pair[1]["median"], reverse=row["better"] == "less"
    )
    fig, axes = plt.subplots(figsize=(7, 0.7 + 0.32 * len(figures)))
    colours = [INK if name.startswith(OURS) else RIVAL for name, _ in figures]
    medians = [figure["median"] for _, figure in figures]
    axes.barh([name for name, _ in figures], medians, color=colours, height=0.7)
    axes.set_xscale("log")
    for at, value in enumerate(medians):
        axes.annotate(
            number(value), (value, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlabel(f"{row['unit']} ({row['better']} is better)", fontsize=8)
    axes.set_xlim(min(medians) / 2, max(medians) * 4)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def lines(
    points: Sequence[dict[str, Any]], x: str, series: dict[str, str], labels: tuple[str, str], path: Path
) -> None:
    """Curves over one quantity; series: key of the points -> what the legend says."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(figsize=(7, 3))
    for key, legend in series.items():
        known = [(p[x], p[key]) for p in points if p.get(key) is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker="o", label=legend)
    axes.set_xscale("log")
    values = [p[key] for p in points for key in series if p.get(key)]
    if values and max(values) > 20 * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(labels[0], fontsize=8)
    axes.set_ylabel(labels[1], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def whole(found: dict[str, dict[str, Any]]) -> list[str]:
    """Pool, flood and soak of benchmarks/load_test.py, and another design's published figures.

    load_pool and load_flood are Kite's; the same of Upstox have its name behind.
    """
    pool = found.get("load_pool")
    out = [pool_line(pool, "Pool", " (asked 20)", " (asked 150)")] if pool else []
    if upstox := found.get("load_pool_upstox"):
        out.append(pool_line(upstox, "Pool at Upstox"))
    for name, title, asked in (
        ("load_flood", "Flood", " (asked 5 M)"),
        ("load_flood_upstox", "Flood at Upstox", ""),
    ):
        if flood := found.get(name):
            ticks, search, load = flood["steady"]["ticks"], flood["flood"], flood["load"]
            out.append(
                f"* **{title}** (highest rate found at which nothing is lost, frames of "
                f"{load['packets_per_frame']}): {number(search['ticks_per_s'])} ticks/s{asked}, "
                f"{ticks['sent']:,} ticks in {search['seconds']:g} s, {ticks['lost']} lost."
            )
    if soak := found.get("load_soak"):
        ticks, memory = soak["steady"]["ticks"], soak["soak"]
        out.append(
            f"* **Soak** ({soak['load']['duration_s'] / 3600:g} h): {ticks['computed']:,} ticks, "
            f"{ticks['lost']} lost; PSS {memory['pss']['first'] / 1e6:.0f} MB at the start, "
            f"{memory['pss']['last'] / 1e6:.0f} MB at the end, slope of RSS "
            f"{memory['rss']['per_hour'] / 1e6:+.1f} MB an hour; descriptors {memory['fds'][1]} and segments "
            f"{memory['segments'][1]} throughout."
        )
    if pool and pool.get("published"):
        out += ["", "What another design for the same job publishes, beside ours from the pool's run:", ""]
        out += ["| published | ours | what ours means |", "|---|---|---|"]
        for row in pool["published"]:
            out.append(f"| {row['published']} | {cell(row['ours'])} | {row['means']} |")
    return out


def pool_line(pool: dict[str, Any], title: str, asked_p50: str = "", asked_p99: str = "") -> str:
    """The pool's figures in a sentence. asked_*: what is asked of the figure, in words."""
    steady, bare, load = pool["steady"], pool["bare"], pool["load"]
    intent, lost = steady["latency_us"]["tick_to_intent"], steady["ticks"]["lost"]
    return (
        f"* **{title}** ({load['instruments']:,} instruments, {load['connections']} connections, frames of "
        f"{load['packets_per_frame']}): {steady['ticks_per_s']:,.0f} ticks/s, {lost} lost; socket read to "
        f"intent p50 {number(intent['p50'])} µs{asked_p50}, p99 {number(intent['p99'])} µs{asked_p99}; "
        f"intended send to intent {bare['intent_ratio']:.2f} of a bare picows receiver "
        f"(asked {bare['asked']}); CPU of the engine "
        f"{100 * steady['cpu']['engine']['of_a_core']:.1f} % of a core."
    )


def growth(found: dict[str, dict[str, Any]]) -> list[str]:
    """The sections on growth, with a curve and a table each."""
    out: list[str] = []
    for name, sweep in found.get("growth", {}).get("sweeps", {}).items():
        path = PICTURES / f"growth_{name}.svg"
        lines(sweep["points"], sweep["x"], sweep["series"], (sweep["x_label"], sweep["y_label"]), path)
        out += ["", f"### {sweep['title']}", "", f"![{sweep['title']}](pictures/{path.name})", ""]
        columns = [sweep["x"], *sweep["columns"]]
        out += ["| " + " | ".join(sweep["names"]) + " |", "|" + "---|" * len(columns)]
        for point in sweep["points"]:
            out.append("| " + " | ".join(cell(point.get(key)) for key in columns) + " |")
        out += ["", *sweep["notes"]]
    return out


def cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")


def page(found: dict[str, dict[str, Any]], machine: str) -> str:
    """The whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    facts = next(iter(found.values()))["machine"]
    fixed = dict(sections(TEXT.read_text("utf-8")))
    about = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}, "
    out = ["<!-- made by scripts/make_performance_page.py from benchmarks/results; do not edit -->", ""]
    out += [
        "# Performance",
        "",
        fixed["how"].format(machine=machine, about=f"{about}Python {facts['python']}"),
    ]
    out += ["", "## Asked and reached", "", *target_table(found), "", fixed["misses"]]
    out += ["", "## Ours and the rivals"]
    for name, row in rows(found):
        if not row["figures"]:
            continue
        path = PICTURES / f"{name}_{''.join(c if c.isalnum() else '_' for c in row['name'].lower())[:48]}.svg"
        bars(row, path)
        out += [
            "",
            f"### {row['name']}",
            "",
            f"![{row['name']}](pictures/{path.name})",
            "",
            *figure_table(row),
        ]
    out += ["", "## Through the whole engine", "", *whole(found), "", fixed["published"]]
    out += ["", "## Growth", "", fixed["growth"], *growth(found)]
    out += ["", "## A box with 16 cores", "", fixed["sixteen"], ""]
    return "\n".join(out)


def sections(text: str) -> Iterator[tuple[str, str]]:
    """(name, text) of the parts that a person writes; each begins with a line `[name]`."""
    for part in text.split("\n["):
        name, _, body = part.lstrip("[").partition("]\n")
        yield name, body.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    folders = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
    parser.add_argument("--machine", choices=folders, default=folders[0] if folders else None)
    options = parser.parse_args()
    if options.machine is None:
        sys.exit("performance page: benchmarks/results is empty; run `make bench` first")
    try:
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams.update({"svg.hashsalt": "kite_hft", "svg.fonttype": "none"})
    except ImportError:
        sys.exit("performance page: matplotlib is missing; it comes with `make bench` (extra `bench`)")
    PAGE.write_text(page(documents(RESULTS / options.machine), options.machine), "utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
