"""The order of stores inside the writers, seen at the moment of each copy (protocol_order.c)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What must be noticed: (header, right, wrong).
BROKEN = {
    "queue publishes before the copy": (
        "queue.h",
        "    for (uint64_t left = n, seq = queue->head; left;) {",
        "    store_release(&queue->control->head, queue->head + n);\n"
        "    for (uint64_t left = n, seq = queue->head; left;) {",
    ),
    "queue frees before the copy": (
        "queue.h",
        "    for (uint64_t left = n, seq = queue->tail; left;) {",
        "    store_release(&queue->control->tail, queue->tail + n);\n"
        "    for (uint64_t left = n, seq = queue->tail; left;) {",
    ),
    "table without the odd mark": ("table.h", "    store_relaxed(mark, odd);\n", ""),
    "ring announces more than half of itself": ("ring.h", "ring->capacity / 2", "ring->capacity"),
}


def look(folder: Path, *first: Path) -> str:
    """Compile against the headers, those in `first` before ours; what the program prints."""
    program = folder / "protocol_order"
    includes = [f"-I{path}" for path in (*first, ROOT / "ext", ROOT / "build/gen")]
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-w", *includes]
    subprocess.run([*command, str(HERE / "protocol_order.c"), "-o", str(program)], check=True)
    return subprocess.run([str(program)], capture_output=True, text=True, check=False).stdout.strip()


def test_data_is_written_between_the_marks(tmp_path: Path) -> None:
    assert look(tmp_path) == "ok"


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_sees_what_is_broken(tmp_path: Path, name: str) -> None:
    header, right, wrong = BROKEN[name]
    text = (ROOT / "ext" / header).read_text()
    assert right in text
    for path in (ROOT / "ext").glob("*.h"):  # quoted includes look beside the including file first
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / header).write_text(text.replace(right, wrong))
    assert "line" in look(tmp_path, tmp_path)
