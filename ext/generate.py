"""Build step: writes the C view of layout.py, the ids of the compiled modules and their type stubs.

Run by setup.py; imports the standard library and numpy only. A file is written only when its
text changed, so that an unchanged layout rebuilds nothing.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
C_TYPES = {
    "<u8": "uint64_t",
    "<i8": "int64_t",
    "<u4": "uint32_t",
    "<i4": "int32_t",
    "<u2": "uint16_t",
    "<i2": "int16_t",
    "|u1": "uint8_t",
    "<f8": "double",
}
BANNER = "Generated from src/kite_hft/layout.py by ext/generate.py: do not edit."


def load(name: str) -> ModuleType:
    """A module of the package by its path: the package itself cannot be imported before it is built."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"src/kite_hft/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_layout() -> ModuleType:
    return load("layout")


def write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def c_member(name: str, sub: Any) -> tuple[str, str]:
    """(C type, declarator) of one field."""
    base = sub.base
    if base.kind in "SV":
        return "uint8_t", f"{name}[{base.itemsize}]"
    length = f"[{sub.shape[0]}]" if sub.shape else ""
    return C_TYPES[base.str], f"{name}{length}"


def c_name(enumeration: type[Any], member: Any) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", enumeration.__name__).upper()
    return f"{words}_{member.name}"


def layout_header(layout: ModuleType) -> str:
    lines = [f"/* {BANNER} */", "#ifndef KHFT_LAYOUT_H", "#define KHFT_LAYOUT_H"]
    lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
    lines.append(f"#define KHFT_LAYOUT_FINGERPRINT UINT64_C({layout.LAYOUT_FINGERPRINT})")
    for name in ("FORMAT_VERSION", "PAGE", "HISTOGRAM_SUB_BITS", "HISTOGRAM_BUCKETS"):
        lines.append(f"#define KHFT_{name} {getattr(layout, name)}")
    lines.append(f"#define KHFT_NO_SLOT UINT32_C({layout.NO_SLOT})")
    for enumeration in layout.ENUMS:
        lines += [f"#define {c_name(enumeration, m)} {int(m)}" for m in enumeration]
    for stage, names in layout.COUNTERS.items():
        lines += [f"#define {f'{stage}_{n}'.upper()} {i}" for i, n in enumerate(names)]
    for stage, names in layout.HISTOGRAMS.items():
        lines += [f"#define {f'{stage}_hist_{n}'.upper()} {i}" for i, n in enumerate(names)]
    for record, dtype in layout.RECORDS.items():
        struct = f"khft_{record.lower()}_t"
        lines += ["", "typedef struct {"]
        for name, (sub, _offset) in dtype.fields.items():
            ctype, declarator = c_member(name, sub)
            lines.append(f"    {ctype} {declarator};")
        lines.append(f"}} {struct};")
        lines.append(f'_Static_assert(sizeof({struct}) == {dtype.itemsize}, "{record} size");')
        for name, (_sub, offset) in dtype.fields.items():
            lines.append(f'_Static_assert(offsetof({struct}, {name}) == {offset}, "{record}.{name}");')
    return "\n".join([*lines, "", "#endif", ""])


def layout_pxd(layout: ModuleType) -> str:
    lines = [f"# {BANNER}", "from libc.stdint cimport int8_t, int16_t, int32_t, int64_t"]
    lines += ["from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t", ""]
    lines.append('cdef extern from "khft_layout.h" nogil:')
    lines.append("    const uint64_t KHFT_LAYOUT_FINGERPRINT")
    lines.append("    const uint32_t KHFT_NO_SLOT")
    lines.append("    enum:")
    constants = ["KHFT_FORMAT_VERSION", "KHFT_PAGE", "KHFT_HISTOGRAM_SUB_BITS", "KHFT_HISTOGRAM_BUCKETS"]
    for enumeration in layout.ENUMS:
        constants += [c_name(enumeration, m) for m in enumeration]
    for stage, names in layout.COUNTERS.items():
        constants += [f"{stage}_{n}".upper() for n in names]
    for stage, names in layout.HISTOGRAMS.items():
        constants += [f"{stage}_hist_{n}".upper() for n in names]
    lines += [f"        {name}" for name in constants]
    for record, dtype in layout.RECORDS.items():
        lines += ["", f"    ctypedef struct khft_{record.lower()}_t:"]
        for name, (sub, _offset) in dtype.fields.items():
            ctype, declarator = c_member(name, sub)
            lines.append(f"        {ctype} {declarator}")
    return "\n".join([*lines, ""])


# ---- type stubs -------------------------------------------------------------------------------

INTEGERS = "bint|u?int(?:8|16|32|64)_t|unsigned int|unsigned long|size_t|Py_ssize_t|int|long|short"
NAMES = {"bint": "bool", "double": "float", "float": "float", "object": "Any", "str": "str"} | {
    "list": "list[Any]"
}


def _python_argument(text: str) -> str:
    """One parameter of a .pyx signature as Python: `int64_t now_ns=0` -> `now_ns: int = ...`."""
    text = text.strip()
    if text in {"self", "cls", "*", "/"} or text.startswith("**") or not text:
        return text
    text, has_default, _default = text.partition("=")
    text = text.strip().removesuffix(" not None").removesuffix(" or None")
    if ":" in text and "[" not in text.split(":")[0]:
        name, annotation = (part.strip() for part in text.split(":", 1))
    else:
        *ctype, name = re.sub(r"\s+", " ", text.replace("const ", "")).rsplit(" ", 1)
        declared = ctype[0].strip() if ctype else "object"
        if "[" in declared:
            annotation = "Any"
        elif re.fullmatch(INTEGERS, declared):
            annotation = NAMES.get(declared, "int")
        else:
            annotation = NAMES.get(declared, declared)
    return f"{name}: {annotation}" + (" = ..." if has_default else "")


def _split_arguments(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for char in text:
        depth += char in "[({"
        depth -= char in "])}"
        if char == "," and not depth:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current] if current.strip() else parts


def stub_of(source: str) -> str:
    """The public face of a .pyx as a .pyi: classes, defs, properties, readonly members."""
    lines = ["# Generated from the .pyx by ext/generate.py: do not edit.", "from typing import Any", ""]
    body = re.sub(r'"""[\s\S]*?"""', '"""doc"""', source)
    body = re.sub(r"#.*", "", body)
    wanted = re.findall(r"^from (?:numpy|collections|typing)[\w. ]* import .*$|^import numpy.*$", body, re.M)
    # Shared cdef classes: what the .pyx cimports is what a type checker imports.
    for module, names in re.findall(r"^from (kite_hft\._\w+|picows)(?:\.picows)? cimport (.*)$", body, re.M):
        # Constants and structs are C's own.
        classes = [name for name in re.findall(r"\w+", names) if name[0].isupper() and not name.isupper()]
        wanted += [f"from {module} import {', '.join(classes)}"] if classes else []
    lines[1:1] = wanted
    imported = set(re.findall(r"\w+", " ".join(w.partition("import")[2] for w in wanted)))
    pattern = re.compile(
        r"^(?P<indent> *)(?:(?P<decorator>@(?:property|staticmethod|classmethod|\w+\.setter))"
        r"|(?:cdef )?class (?P<cls>\w+)(?:\((?P<bases>[^)]*)\))?:"
        r"|(?:def|cpdef(?: [\w.]+)??) (?P<def>\w+)\((?P<args>(?:[^()]|\([^()]*\))*)\)"
        r"(?:\s*->\s*(?P<ret>[^:\n]+?))?\s*(?:noexcept|except[^:\n]*)?\s*:"
        r"|cdef readonly (?P<rtype>[\w ]+?) (?P<rname>\w+)\s*$"
        r"|cdef public (?P<ptype>[\w ]+?) (?P<pname>\w+)\s*$"
        r"|(?P<const>[A-Z][A-Z0-9_]+)(?:: (?P<ctype>\w+))? = )",
        re.M,
    )
    for match in pattern.finditer(body):
        indent = "    " * (len(match["indent"]) // 4)
        if match["decorator"]:
            lines.append(indent + match["decorator"])
        elif match["cls"]:
            bases = match["bases"] or ""
            errors = {"Exception", "ValueError", "OSError", "RuntimeError"}
            known = f"({bases})" if bases in errors | imported else ""
            lines += [f"{indent}class {match['cls']}{known}:", f"{indent}    ..."]
            imported.add(match["cls"])
        elif match["def"]:
            if match["def"] == "__dealloc__":
                continue
            name = "__init__" if match["def"] == "__cinit__" else match["def"]
            returns = "None" if name == "__init__" else (match["ret"] or "Any").strip()
            arguments = ", ".join(filter(None, map(_python_argument, _split_arguments(match["args"]))))
            lines.append(f"{indent}def {name}({arguments}) -> {returns}: ...")
        elif match["rname"]:
            annotation = _python_argument(f"{match['rtype']} x").split(": ")[1]
            lines += [f"{indent}@property", f"{indent}def {match['rname']}(self) -> {annotation}: ..."]
        elif match["pname"]:
            lines.append(indent + _python_argument(f"{match['ptype']} {match['pname']}"))
        elif match["const"] and not match["indent"]:
            lines.append(f"{match['const']}: {match['ctype'] or 'Any'}")
    text = "\n".join([*lines, ""])
    return re.sub(r"\bnp\.ndarray\b(?!\[)", "np.ndarray[Any, Any]", text)


def with_attributes(source: str, face: str) -> str:
    """A .pyx whose classes are declared in a .pxd, with the attributes that Python sees."""
    for name, body in re.findall(r"^cdef class (\w+).*:\n((?:    .*\n|\n)*)", face, re.M):
        seen = "".join(re.findall(r"^    cdef (?:readonly|public) .*\n", body, re.M))
        source = re.sub(rf"^(cdef class {name}\b.*:\n)", rf"\1{seen}", source, flags=re.M)
    return source


def write_ids(gen: Path, layout: str, only: Collection[str], *, in_table: bool) -> dict[str, list[str]]:
    """A C file for each module with its id, and the table of ids; module -> its sources (kite_hft.builds).

    only: the modules that are built now; empty: all. The others keep their rows of the table, which tells
    of what was built. in_table: whether what is built becomes part of the package.
    """
    builds = load("builds")
    stems = [path.stem for path in sorted((ROOT / "ext").glob("*.pyx"))]
    ids = {stem: builds.id_of(ROOT / "ext", f"_{stem}", layout) for stem in stems}
    for stem, number in ids.items():
        text = builds.marked(f"_{stem}", number)
        declared = '__attribute__((used, visibility("default"))) const char khft_sources[]'
        write_if_changed(gen / f"ids/{stem}.c", f'{declared} = "{text}";\n')
    if in_table:
        package = ROOT / "src/kite_hft"
        known = builds.table_in(package) if only else {}
        rows = {
            f"_{stem}": n for stem, n in ids.items() if not only or stem in only or f"_{stem}" not in known
        }
        kept = {name: n for name, n in known.items() if name[1:] in ids}
        write_if_changed(package / builds.TABLE, builds.table_text(kept | rows))
    return {stem: builds.sources_of(ROOT / "ext", f"_{stem}") for stem in stems}


def generate(gen: Path, only: Collection[str] = (), *, in_table: bool = True) -> dict[str, list[str]]:
    """Write everything below `gen` (C header, .pxd, ids), the table of ids and the stubs into the package.

    Arguments and result as in `write_ids`.
    """
    layout = load_layout()
    write_if_changed(gen / "khft_layout.h", layout_header(layout))
    write_if_changed(gen / "khft_layout.pxd", layout_pxd(layout))
    # A cdef class that several modules share is found by its module's name, not its file's.
    write_if_changed(gen / "kite_hft/__init__.pxd", "")
    write_if_changed(gen / "kite_hft/_sink.pxd", (ROOT / "ext/sink.pxd").read_text())
    for path in sorted((ROOT / "ext").glob("_*.pxd")):
        write_if_changed(gen / "kite_hft" / path.name, path.read_text())
    for path in sorted((ROOT / "ext").glob("*.pyx")):
        source, face = path.read_text(), path.with_name(f"_{path.stem}.pxd")
        if face.exists():
            source = with_attributes(source, face.read_text())
        write_if_changed(ROOT / f"src/kite_hft/_{path.stem}.pyi", stub_of(source))
    return write_ids(gen, layout_header(layout), only, in_table=in_table)
