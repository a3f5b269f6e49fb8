"""Builds the benchmarks' own Cython modules (peers/<name>.pyx) with the product's compiler flags.

They cimport the product's declarations (ext/*.pxd, the generated layout), so that a loop around a
product's structure is compiled exactly as the product's own loops are: no -march, no contraction.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Final

import picows
from kit import PEERS, ROOT

FLAGS: Final = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-semantic-interposition", "-fvisibility=hidden",
                "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-Wno-unused-function")  # fmt: skip
DIRECTIVES: Final = ("language_level=3", "boundscheck=False", "wraparound=False", "initializedcheck=False",
                     "cdivision=True", "freethreading_compatible=False")  # fmt: skip


def extension(name: str) -> ModuleType:
    """The module of peers/<name>.pyx, built once for its text, the product's headers and Python."""
    source = PEERS / f"{name}.pyx"
    gen, ext = ROOT / "build" / "gen", ROOT / "ext"
    inputs = [source, *sorted(ext.glob("*.h")), *sorted(ext.glob("*.pxd")), gen / "khft_layout.h"]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in inputs) + sys.version.encode())
    folder = ROOT / "build" / "peers-cython" / f"{name}-{mark.hexdigest()[:12]}"
    made = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / source.name
        shutil.copy(source, copy)
        picows_folder = Path(picows.__file__).parent
        words = [word for directive in DIRECTIVES for word in ("-X", directive)]
        paths = ["-I", str(ext), "-I", str(gen), "-I", str(picows_folder.parent)]
        subprocess.run([sys.executable, "-m", "cython", *words, *paths, copy], check=True)
        includes = [sysconfig.get_path("include"), gen, ext, picows_folder]
        gcc = ["gcc", *FLAGS, "-shared", "-fPIC", *(f"-I{path}" for path in includes)]
        part = folder / f"{name}.part"
        subprocess.run([*gcc, str(copy.with_suffix(".c")), "-o", str(part)], check=True)
        part.rename(made)
    spec = importlib.util.spec_from_file_location(name, made)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
