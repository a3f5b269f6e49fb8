"""A C program of tests/property under AddressSanitizer and UBSan: built from a source file there, and run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-omit-frame-pointer"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SEED = "1"


def layout_header() -> str:
    """The C structs of layout.py, as setup.py generates them."""
    spec = importlib.util.spec_from_file_location("khft_generate", ROOT / "ext" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return str(generate.layout_header(generate.load_layout()))


def counted(source: str, frames: int, folder: Path, flags: Sequence[str], timeout_s: float) -> list[int]:
    """What the program says it counted over so many frames; skips where the machine cannot build it."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc not found")
    (folder / "khft_layout.h").write_text(layout_header())
    program = folder / "fuzz"
    build = [compiler, *flags, *FLAGS, *SANITIZERS, f"-I{folder}", f"-I{ROOT / 'ext'}"]
    build += [str(ROOT / "tests" / "property" / source), "-o", str(program)]
    made = subprocess.run(build, capture_output=True, text=True)
    if "cannot find" in made.stderr and "asan" in made.stderr:
        pytest.skip("the compiler has no AddressSanitizer")
    assert made.returncode == 0, made.stderr
    run = [str(program), str(frames), SEED]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=timeout_s)
    assert ran.returncode == 0, ran.stderr
    done, *found = map(int, ran.stdout.split())
    assert done == frames
    return found
