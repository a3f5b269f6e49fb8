"""Layer 6, campaign of formats, cold: files that somebody could put in the place of ours, made at run time.

Each is one of a kind: what runs code when its reader is careless (pickles in every protocol and wrapping,
arrays of objects, YAML tags), what takes memory or time (bombs, lengths, nesting), and plain nonsense. What
is no file at all, and what only one format knows, stands in corpus_places.py. The code that would run makes a
folder, TRAP: whoever finds it knows.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

TRAP: Final = "trap"
COMMAND: Final = f"mkdir {TRAP}"
MANY: Final = 1 << 20
Row = tuple[str, bytes]
"""(name, what stands in the file)."""


def pickles() -> Iterator[Row]:
    """Hand-made: each calls something when it is read. Opcodes as in pickletools of the standard library."""
    said = COMMAND.encode()
    text = b"V" + said + b"\n"
    calls = {
        "os.system": b"cos\nsystem\n",
        "posix.system": b"cposix\nsystem\n",
        "os.popen": b"cos\npopen\n",
        "os.mkdir": b"cos\nmkdir\n",
        "subprocess.getoutput": b"csubprocess\ngetoutput\n",
        "builtins.exec": b"cbuiltins\nexec\n",
        "builtins.eval": b"cbuiltins\neval\n",
        "runpy.run_path": b"crunpy\nrun_path\n",
        "webbrowser.open": b"cwebbrowser\nopen\n",
        "pty.spawn": b"cpty\nspawn\n",
        "numpy runstring": b"cnumpy.testing._private.utils\nrunstring\n",
    }
    python = b"V__import__('os').mkdir('" + TRAP.encode() + b"')\n"
    for name, found in calls.items():
        given = python if "builtins" in name else text
        yield f"pickle, protocol 0, {name}", found + b"(" + given + b"tR."
        yield f"pickle, protocol 2, {name}", b"\x80\x02" + found + b"(" + given + b"tR."
        stacked = found[1:].replace(b"\n", b"\0").split(b"\0")
        short = [b"\x8c" + bytes([len(word)]) + word for word in stacked[:2]]
        body = short[0] + short[1] + b"\x93(" + given + b"tR."
        framed = b"\x95" + struct.pack("<Q", len(body)) + body
        yield f"pickle, protocol 4, {name}", b"\x80\x04" + framed
        yield f"pickle, protocol 5, {name}", b"\x80\x05" + framed
    yield "pickle, INST", b"(" + text + b"ios\nsystem\n."
    yield "pickle, OBJ", b"(cos\nsystem\n" + text + b"o."
    yield "pickle, BUILD", b"ccopyreg\n_reconstructor\n(cos\nsystem\n" + text + b"tRb."
    yield "pickle, in a list", b"\x80\x02](cos\nsystem\n(" + text + b"tRe."
    yield "pickle, persistent id", b"P" + said + b"\n."
    yield "pickle, memo bomb", b"\x80\x02" + b"]q\0" + b"(h\0h\0e" * 4000 + b"."
    yield "pickle, huge length", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a."


def wrapped() -> Iterator[Row]:
    """A pickle as joblib, gzip and others pack it, and beside other things."""
    one = b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR."
    yield "joblib, zlib", zlib.compress(one)
    yield "joblib, ZF", b"ZF0x12                 " + zlib.compress(one)
    yield "pickle, gzip", gzip.compress(one)
    yield "pickle, bz2", bz2.compress(one)
    yield "pickle, xz", lzma.compress(one)
    yield "pickle, base64", base64.b64encode(one)
    yield "pickle, behind a newline", b"\n" + one
    yield "pickle, behind JSON", b'{"a": 1}\n' + one
    yield "shelve, dumb", b"'key', (0, 40)\n" + one
    yield "torch, zip", zipped({"archive/data.pkl": one, "archive/version": b"3\n"})
    yield "keras, zip with a lambda", zipped({"config.json": b'{"class_name": "Lambda"}', "model.pkl": one})
    yield "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(88) + one
    yield "safetensors, huge header", struct.pack("<Q", 2**60) + b'{"a": 1}'
    yield "marshal, code", b"\xe3" + bytes(16) + b"\xf3\x04\x00\x00\x00d\x00S\x00"
    yield "pyc", b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(40)


def arrays() -> Iterator[Row]:
    """numpy's formats with objects, code in the header, absurd shapes."""
    one = b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR."

    def npy(header: str, body: bytes = b"", major: int = 1) -> bytes:
        text = header.encode("latin-1") + b"\n"
        size = struct.pack("<H" if major == 1 else "<I", len(text))
        return b"\x93NUMPY" + bytes([major, 0]) + size + text + body

    objects = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    for major in (1, 2, 3):
        yield f"npy {major}, objects", npy(objects, one, major)
    mixed = "{'descr': [('a', '<i8'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }"
    yield "npy, record with an object", npy(mixed, bytes(8) + one)
    yield "npy, code in the header", npy(f"__import__('os').system('{COMMAND}')")
    yield "npy, deep header", npy("(" * 3000, b"", 2)
    for shape in ("(1000000000000000,)", "(-1,)", "(2**70,)", "('a',)", "(1,) * 99"):
        yield f"npy, shape {shape}", npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}")
    yield "npy, huge header length", b"\x93NUMPY\x02\0" + b"\xff\xff\xff\x7f" + b"{}"
    yield "npy, cut off", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }", bytes(8))
    yield "npz, objects", zipped({"a.npy": npy(objects, one)})
    yield "npz, a path upwards", zipped({"../../a.npy": npy(objects, one)})


def yamls() -> Iterator[Row]:
    """YAML that makes objects, and YAML that never ends."""
    python = "tag:yaml.org,2002:python/"
    for name, text in {
        "apply os.system": f"!!python/object/apply:os.system ['{COMMAND}']",
        "apply os.mkdir": f"!!python/object/apply:os.mkdir [{TRAP}]",
        "apply subprocess": f"a: !!python/object/apply:subprocess.Popen [['mkdir', '{TRAP}']]",
        "apply eval": f'!!python/object/apply:eval [\'__import__("os").mkdir("{TRAP}")\']',
        "new": f"!!python/object/new:os.system ['{COMMAND}']",
        "new with state": "!!python/object/new:type {args: [z, !!python/tuple [], {extend: "
        "!!python/name:exec }],"
        f" listitems: 'import os; os.mkdir(\"{TRAP}\")'}}",
        "name": "!!python/name:os.system",
        "module": "!!python/module:os",
        "object": "!!python/object:os._Environ {}",
        "tuple": "!!python/tuple [1, 2]",
        "complex": "!!python/complex 1+2j",
        "whole tag": f"!<{python}object/apply:os.system> ['{COMMAND}']",
        "own tag": "!anything {a: 1}",
        "tag directive": f"%TAG ! {python}\n---\n!object/apply:os.system ['{COMMAND}']",
        "as a key": f"? !!python/object/apply:os.system ['{COMMAND}']\n: 1",
        "merge of a tag": f"<<: !!python/object/apply:os.system ['{COMMAND}']",
        "ruby": f"--- !ruby/object:Gem::Installer\ni: {COMMAND}",
        "java": "!!javax.script.ScriptEngineManager [!!java.net.URL ['http://127.0.0.1:1']]",
    }.items():
        yield f"yaml, {name}", text.encode()
    laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    yield "yaml, a billion laughs", laughs.encode()
    merges = "a0: &a0 {k: 1}\n"
    merges += "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9))
    yield "yaml, merged laughs", merges.encode()
    yield "yaml, contains itself", b"&a [*a]"
    yield "yaml, a mapping in itself", b"&a {b: *a}"
    for n in (900, 20_000):
        yield f"yaml, {n} deep", b"[" * n + b"]" * n
        yield f"yaml, {n} keys deep", b"".join(b" " * (k % 500) + b"a:\n" for k in range(n))
    yield "yaml, two documents", b"a: 1\n---\nb: 2\n"
    yield "yaml, a list as key", b"? [1, 2]\n: 3\n"
    yield "yaml, a key twice", b"mode: sim\nmode: live\n"
    yield "yaml, huge number", b"mode: " + b"9" * 200_000
    yield "yaml, sexagesimal", b"duration: " + b"1:" * 20_000 + b"1"
    yield "yaml, date that is none", b"a: 2026-99-99\n"
    yield "yaml, binary", b"a: !!binary '!!!'"
    yield "yaml, alias of nothing", b"a: *nothing"
    yield "yaml, tab", b"a:\n\t- b"
    yield "yaml, NUL", b"mode: sim\0\n"
    yield "yaml, open quote", b'a: "' + b"x" * 1000
    yield "yaml, one long line", b"a: " + b"x" * (9 * MANY)
    yield "yaml, many keys", b"".join(b"k%d: 1\n" % n for n in range(30_000))


def texts() -> Iterator[Row]:
    """JSON, CSV and words."""
    for n in (990, 100_000):
        yield f"json, {n} deep", b"[" * n + b"]" * n
        yield f"json, {n} objects deep", b'{"a":' * n + b"1" + b"}" * n
    yield "json, huge number", b'{"format": ' + b"9" * 100_000 + b"}"
    yield "json, huge exponent", b'{"format": 1e999999999}'
    yield "json, not a number", b'{"format": NaN, "a": Infinity}'
    yield "json, a key twice", b'{"format": 1, "format": 2}'
    yield "json, lone surrogate", b'{"format": "\\ud800"}'
    yield "json, cut off", b'{"format": 1, "instruments": {'
    yield "json, an object", b'{"__class__": "os.system", "args": ["' + COMMAND.encode() + b'"]}'
    yield "json, prototype", b'{"__proto__": {"a": 1}, "__init__": {"__globals__": {}}}'
    for kind in (b"[]", b"{}", b"null", b"true", b"7", b'"text"', b"[[[]]]"):
        yield f"json, {kind.decode()}", kind
    yield "csv, one huge cell", b"instrument_token,exchange_token\n" + b"9" * (5 * MANY)
    yield "csv, 100,000 columns", b",".join(b"c%d" % n for n in range(100_000)) + b"\n"
    yield "csv, open quote", b'instrument_token,"exchange_token\n1,2\n' * 20_000
    yield "csv, NUL", b"instrument_token,exchange_token\n1,\x002\n"
    yield "csv, formula", b"symbol,crores\n\"=cmd|'/c calc'!A1\",1\n"
    yield "csv, ragged", b"a,b,c\n1\n1,2,3,4,5\n\n,,\n"
    yield "csv, carriage returns", b"a,b\r1,2\r" * 50
    yield "csv, odd numbers", b"symbol,crores\nINFY,nan\nTCS,inf\nITC,-1e308\nSBIN,0x10\n"
    yield "utf-16", "mode: sim\n".encode("utf-16")
    yield "utf-8 mark alone", b"\xef\xbb\xbf"
    yield "no utf-8", b"mode: \xff\xfe\xfa\n"
    yield "overlong utf-8", b"mode: \xc0\xaf\xc0\xae\n"
    yield "terminal escapes", b"\x1b]0;owned\x07\x1b[2Jmode: sim\n"
    yield "xml, a billion laughs", b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'
    yield "shell script", f"#!/bin/sh\n{COMMAND}\n".encode()
    yield "python", f"import os\nos.mkdir('{TRAP}')\n".encode()
    yield (
        "template",
        b"{{ ''.__class__.__mro__[1].__subclasses__() }} ${jndi:ldap://127.0.0.1/a} %(x)s {0.__init__}",
    )


def packed() -> Iterator[Row]:
    """Bombs, and what is packed badly."""
    zeros = bytes(MANY)
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", mtime=0) as file:
        for _ in range(1024):
            file.write(zeros)
    yield "gzip, a bomb of 1 GiB", bomb.getvalue()
    yield "gzip, a bomb in a bomb", gzip.compress(bomb.getvalue())
    yield "gzip, cut off", gzip.compress(b"[{}]" * 100)[:-9]
    yield "gzip, another sum", gzip.compress(b"[{}]")[:-8] + bytes(8)
    yield "gzip, 3,000 members", gzip.compress(b"") * 3000
    yield "gzip, of nothing", gzip.compress(b"")
    yield "xz, a bomb of 256 MiB", lzma.compress(bytes(256 * MANY), preset=0)
    yield "bz2, a bomb of 64 MiB", bz2.compress(bytes(64 * MANY))
    yield "zlib, a bomb of 256 MiB", zlib.compress(bytes(256 * MANY))
    yield "zip, a bomb", zipped({"a": bytes(200 * MANY)})
    yield "zip, a path upwards", zipped({f"../../{TRAP}/a": b"1"})
    yield "zip, cut off", zipped({"a": b"1"})[:-10]
    yield "zip, no end", b"PK\x03\x04" + bytes(100)
    yield "7z", b"7z\xbc\xaf'\x1c" + bytes(60)
    yield "zstd", b"(\xb5/\xfd" + bytes(60)


def nonsense() -> Iterator[Row]:
    """Bytes of all kinds, and other programs' files."""
    chance = random.Random(7)
    for n in (0, 1, 7, 63, 4096, 8192, MANY):
        yield f"{n} zeros", bytes(n)
        yield f"{n} random bytes", chance.randbytes(n)
        yield f"{n} bytes of ones", b"\xff" * n
    yield "newlines", b"\n" * 1000
    for name, head in {
        "ELF": b"\x7fELF\x02\x01\x01", "PNG": b"\x89PNG\r\n\x1a\n", "PDF": b"%PDF-1.7\n",
        "SQLite": b"SQLite format 3\0", "class": b"\xca\xfe\xba\xbe", "wasm": b"\0asm\x01\0\0\0",
        "OLE": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "GGUF": b"GGUF", "ORC": b"ORC", "Avro": b"Obj\x01",
        "feather": b"FEA1", "Arrow file": b"ARROW1\0\0", "Parquet": b"PAR1",
    }.items():  # fmt: skip
        yield f"{name}, its head alone", head
        yield f"{name}, head and zeros", head + bytes(4096) + head


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed_files:
        for name, data in files.items():
            packed_files.writestr(name, data)
    return out.getvalue()


def rows() -> Iterator[Row]:
    """All of them; names are unique."""
    for part in (pickles, wrapped, arrays, yamls, texts, packed, nonsense):
        yield from part()


def short_rows(every: int) -> Iterator[Row]:
    """One in `every`, of each part at least the first."""
    for part in (pickles, wrapped, arrays, yamls, texts, nonsense):
        yield from (row for number, row in enumerate(part()) if number % every == 0)
