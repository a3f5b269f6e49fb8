"""The C decoder under AddressSanitizer and UBSan over random frames (kite_packet_fuzz.c)."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FRAMES = 60_000


def layout_header() -> str:
    spec = importlib.util.spec_from_file_location("khft_generate", ROOT / "ext" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return str(generate.layout_header(generate.load_layout()))


def test_random_frames_under_sanitizers(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc not found")
    (tmp_path / "khft_layout.h").write_text(layout_header())
    program = tmp_path / "fuzz"
    source = Path(__file__).with_name("kite_packet_fuzz.c")
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-omit-frame-pointer"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build = [compiler, *flags, f"-I{tmp_path}", f"-I{ROOT / 'ext'}", str(source), "-o", str(program)]
    made = subprocess.run(build, capture_output=True, text=True)
    if "cannot find" in made.stderr and "asan" in made.stderr:
        pytest.skip("the compiler has no AddressSanitizer")
    assert made.returncode == 0, made.stderr
    ran = subprocess.run([str(program), str(FRAMES), "1"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    frames, *counted = map(int, ran.stdout.split())
    assert frames == FRAMES and min(counted) > FRAMES // 100, counted
