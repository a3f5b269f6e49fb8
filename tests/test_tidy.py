"""The source checks itself: layers, sockets, secrets, sizes, docstrings, leftovers.

Each rule is one test; its message names file and line. DESIGN rules that can be broken silently
belong here.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src/kite_hft"
MODULES = sorted(p for p in SRC.rglob("*.py"))
EXTENSIONS = sorted((ROOT / "ext").glob("*.pyx"))

# Folder or top-level module -> layer. A module imports only from smaller numbers, or its own folder.
LAYERS = {
    "layout": 0, "builds": 0, "_built": 0, "plain": 0, "units": 0, "addresses": 0, "configuring": 0,
    "settings": 0, "clock": 0, "sessions": 0, "loading": 0,
    "memory": 1,
    "kernels": 2, "trading": 2, "brokers": 2, "strategies": 2,
    "stages": 3, "net": 3,
    "sim": 4,
    "engine": 5,
    "app": 6, "verify": 6,
}  # fmt: skip
# Layers of the compiled modules.
COMPILED = {
    "_ring": 1, "_queue": 1, "_table": 1, "_counters": 1, "_wait": 1, "_ring_faults": 1, "_inputs": 1,
    "_risk": 2, "_gathered": 2, "_tally": 2, "_book": 2, "_entering": 2, "_twins": 2,
    "_lanes": 2, "_express": 2, "_calling": 3,
    "_kernels": 2, "_kalman": 2, "_views": 2,
    "_intents": 2, "_kite_decode": 2, "_upstox_decode": 2, "_kite_form": 2, "_placing": 2, "_upstox_form": 2,
    "_journal": 1, "_latch": 1,
    "_tick_rows": 2, "_sink": 2, "_feed": 3, "_step": 3, "_ws_listener": 3,
}  # fmt: skip
# Inside layer 2 and 3 these may be imported by their neighbours.
SAME_LAYER = {
    ("brokers", "trading"),  # requests name instruments
    ("strategies", "kernels"),
}
SOCKETS = {"socket", "ssl", "picows", "aiohttp", "websockets", "requests", "h11", "pycurl", "asyncio",
           "uvloop", "urllib.request", "http.client", "http.server", "socketserver"}  # fmt: skip
SOCKET_ROOMS = (
    "net/",
    "sim/server/server.py",
    "sim/server/listener.py",
    "sim/__main__.py",
    "engine/market/feeds.py",
    "engine/market/updates.py",
    "engine/processes/control.py",
    "verify/shield/doors.py",  # runs the engine's websockets in a loop, as a feed process does
    "verify/alerts/receivers.py",  # what a webhook, a chat and a journal are in the campaign of the alerts
)
FORBIDDEN = {"pickle", "marshal", "joblib", "dill", "shelve", "h5py", "multiprocessing"}
MODULE_LINES_MAX = 420
LONGER = {"layout.py": 760}  # one table of records, better read in one piece
FUNCTION_LINES_MAX = 70


def room(path: Path) -> str:
    """Folder or module name that decides the layer."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in a module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names]
    return found


def tracked() -> list[Path]:
    """Files of the repository, also those not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git checkout: the rules on committed files need one")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_every_room_has_a_layer() -> None:
    unknown = {room(p) for p in MODULES} - set(LAYERS) - {"__init__"}
    assert not unknown, f"no layer for {unknown}"
    assert {f"_{p.stem}" for p in EXTENSIONS} <= set(COMPILED), "a compiled module has no layer"


def test_modules_import_only_what_stands_above_them() -> None:
    wrong = []
    for path in MODULES:
        own = room(path)
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != "kite_hft" or len(parts) < 2 or own == "__init__":
                continue
            other = parts[1]
            layer = COMPILED.get(other, LAYERS.get(other))
            assert layer is not None, f"{path}:{line}: {name} is in no layer"
            if other == own or (own, other) in SAME_LAYER:
                continue
            if layer > LAYERS[own] or (layer == LAYERS[own] and other in LAYERS and layer >= 2):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_stages_do_not_import_one_another() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        if room(path) == "stages" and path.name not in {"stage.py", "__init__.py"}
        for line, name in imports(path)
        if re.match(r"kite_hft\.stages\.(feed|compute|orders|recorder|polling)\b", name)
        and not path.stem.startswith(name.split(".")[2])
    ]
    assert not wrong, "\n".join(wrong)


def test_only_net_and_the_servers_open_sockets() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if any(name == s or name.startswith(s + ".") for s in SOCKETS)
        and not str(path.relative_to(SRC)).startswith(SOCKET_ROOMS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("library", "owner"), [("yaml", "configuring/yaml_files.py"), ("cryptography", "engine/keys/")]
)
def test_library_has_one_owner(library: str, owner: str) -> None:
    users = {str(p.relative_to(SRC)) for p in MODULES for _, n in imports(p) if n.split(".")[0] == library}
    assert users and not {user for user in users if not user.startswith(owner)}


def test_no_format_that_runs_code() -> None:
    wrong = [
        f"{p.relative_to(ROOT)}:{line}: {n}"
        for p in MODULES
        for line, n in imports(p)
        if n.split(".")[0] in FORBIDDEN
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_rooms_read_no_clock_and_no_randomness_of_the_machine() -> None:
    """Stages, brokers, trading, kernels and the exchange get time and seeds handed in."""
    pure = (
        "stages/", "brokers/", "trading/", "kernels/", "strategies/", "sim/exchange/", "sim/kite/",
        "sim/upstox/", "sim/faults/", "sim/market/synthetic",
    )  # fmt: skip
    calls = re.compile(
        r"\btime\.(time|monotonic|perf_counter)|datetime\.now|\brandom\.(random|choice|randint)\b"
        r"|np\.random\.(?!Generator|default_rng|PCG64|SeedSequence)"
    )
    wrong = []
    for path in MODULES:
        if str(path.relative_to(SRC)).startswith(pure):
            for number, text in enumerate(path.read_text().splitlines(), 1):
                if calls.search(text.split("#")[0]):
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {text.strip()}")
    assert not wrong, "\n".join(wrong)


def test_broken_rings_stay_in_their_campaign() -> None:
    """The deliberately broken forms exist to be caught; nothing that trades may load them."""
    users = {str(p.relative_to(SRC)) for p in MODULES for _, n in imports(p) if "_ring_faults" in n}
    assert users <= {
        "verify/memory/ring.py",
        "verify/memory/ring_worker.py",
        "verify/memory/header_worker.py",
    }


def test_package_init_files_only_describe() -> None:
    for path in SRC.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        if path == SRC / "__init__.py":  # answers the public names lazily: nothing is imported at its top
            assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in body)
            continue
        assert len(body) == 1 and isinstance(body[0], ast.Expr), f"{path} does more than describe"


def test_module_docstrings_say_layer_process_and_temperature() -> None:
    wrong = []
    for path in [*MODULES, *EXTENSIONS]:
        if path.name == "__init__.py":
            continue
        first = path.read_text().lstrip().split("\n\n")[0]
        if not re.match(r'"""Layer \d', first) or not re.search(r"\b(hot|cold)\b", first):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, "no `Layer N, process, hot or cold:` first line: " + ", ".join(wrong)


def test_files_and_functions_stay_small() -> None:
    wrong = []
    for path in [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *(ROOT / "ext").iterdir()]:
        if path.suffix not in {".py", ".pyx", ".pxd", ".h"}:
            continue
        text = path.read_text()
        if (n := text.count("\n")) > LONGER.get(path.name, MODULE_LINES_MAX):
            wrong.append(f"{path.relative_to(ROOT)}: {n} lines")
        if path.suffix == ".py" and path.is_relative_to(SRC):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    n = (node.end_lineno or 0) - node.lineno + 1
                    if n > FUNCTION_LINES_MAX:
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {n} lines")
    assert not wrong, "\n".join(wrong)


def test_unit_tests_mirror_the_source() -> None:
    """tests/unit/a/test_b.py tests src/kite_hft/a/b.py, or one part of it (test_b_part.py)."""
    wrong = []
    for path in sorted((ROOT / "tests/unit").rglob("test_*.py")):
        folder = SRC / path.parent.relative_to(ROOT / "tests/unit")
        stem = path.stem.removeprefix("test_")
        names = {p.stem for p in folder.glob("*.py")}
        if path.parent.name == "ext":
            names = {p.stem for p in (ROOT / "ext").iterdir()}
        if not any(stem == name or stem.startswith(f"{name}_") for name in names):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, "tests of nothing: " + ", ".join(wrong)


def test_every_config_file_is_loaded_by_a_test() -> None:
    tests = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    unread = [p.name for p in (ROOT / "config").rglob("*") if p.is_file() and p.name not in tests]
    assert not unread, f"no test loads {unread}"


def test_nothing_left_over_and_nothing_private() -> None:
    parts = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")]
    words = "|".join(a + b for a, b in parts)
    places = "|".join(("wor" + "k", "roo" + "t", "far" + "m"))
    hosts = "ind" + r"ex-url *=|pyp" + r"i\.org|files\.python" + "hosted"
    banned = re.compile(rf"\b({words})\b|(^|[^A-Za-z0-9.])/({places})/|{hosts}")
    wrong = []
    for path in tracked():
        if path.suffix in {".txt", ".lock"} and path.parent.name != "locks":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            wrong.append(f"{path.relative_to(ROOT)}: not text")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if banned.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not wrong, "\n".join(wrong)


def test_makefile_is_short() -> None:
    assert len((ROOT / "Makefile").read_text().splitlines()) <= 50
