"""Builds the compiled modules: ext/<name>.pyx becomes kite_hft._<name>.

Switches, for development (environment variables):
    KHFT_EXT=ring,queue  build only these            KHFT_DEBUG=1  -O0 -g and Cython's checks
    KHFT_TSAN=1          ThreadSanitizer, ring protocol in per-word form
    KHFT_CRASH=1         crash points (ext/crash.h); for `verify crash` alone, which builds it elsewhere
    KHFT_QUICK=1         -O1: compiled in half the time, slower; for trying another Python
"""

import os
import sys
from pathlib import Path

import picows
from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "ext"))
import generate  # noqa: E402  (lives in ext/, which is no package)

DEBUG = bool(os.environ.get("KHFT_DEBUG"))
TSAN = bool(os.environ.get("KHFT_TSAN"))
CRASH = bool(os.environ.get("KHFT_CRASH"))
QUICK = bool(os.environ.get("KHFT_QUICK"))
ONLY = set(filter(None, os.environ.get("KHFT_EXT", "").split(",")))

# No -march: a build runs on any x86-64 or ARM64; wide instructions are chosen at run time.
# No contraction: the kernels must give the same bits on every path and in their slow twins.
FLAGS = ["-std=c11", "-ffp-contract=off", "-fno-semantic-interposition", "-fvisibility=hidden"]
FLAGS += ["-fstack-protector-strong", "-Wno-unused-function", "-Wno-unreachable-code"]
FLAGS += ["-O0", "-g"] if DEBUG else ["-O3", "-D_FORTIFY_SOURCE=2"]
LINK = ["-Wl,-z,relro,-z,now"]
if TSAN:
    FLAGS += ["-fsanitize=thread", "-g", "-DKHFT_TSAN"]
    LINK += ["-fsanitize=thread"]

if CRASH:
    FLAGS += ["-O1", "-DKHFT_CRASH"]
if QUICK:
    FLAGS += ["-O1", "-g0"]

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": False,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": False,
}


def extensions(gen: Path, sources: dict[str, list[str]]) -> list[Extension]:
    """sources: of each module, the files of ext/ that it is made of: it is built again when one changes."""
    found = []
    for name in sorted(sources):
        if ONLY and name not in ONLY:
            continue
        headers = [f"ext/{file}" for file in sources[name] if file.endswith(".h")]
        if "khft_layout" in sources[name]:
            headers.append(str(gen / "khft_layout.h"))
        found.append(
            Extension(
                f"kite_hft._{name}",
                [f"ext/{name}.pyx", str(gen / f"ids/{name}.c")],
                include_dirs=[str(gen), "ext", str(Path(picows.__file__).parent)],
                depends=headers,
                extra_compile_args=FLAGS,
                extra_link_args=LINK,
            )
        )
    return found


gen_dir = Path("build/gen")
# Modules with crash points are no part of the package: they are built elsewhere.
made_of = generate.generate(ROOT / gen_dir, ONLY, in_table=not CRASH)
setup(
    ext_modules=cythonize(
        extensions(gen_dir, made_of),
        include_path=["ext", str(gen_dir)],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        nthreads=0 if ONLY else os.cpu_count() or 1,
        quiet=True,
    )
)
