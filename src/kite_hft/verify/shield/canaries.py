"""Layer 6, campaign of secrets, cold: every form in which a secret may lie about, and looking for it.

A secret is looked for as it is, quoted as in an address, in hexadecimal, in base64 at each of its three
alignments, and backwards; in files, in archives
and compressed files, and in what the kernel shows of a process.
"""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import numpy as np

PAGE: Final = 4096
SPARSE: Final = 1 << 18
SHOWN_BY_PROC: Final = ("cmdline", "environ", "comm", "limits")


def forms(secret: str) -> dict[str, bytes]:
    """Name of the form -> bytes. A form that is no other than the secret itself is left out."""
    raw = secret.encode()
    found = {
        "as it is": raw,
        "quoted": quote(secret, safe="").encode(),
        "quoted, plus": quote_plus(secret).encode(),
        "hexadecimal": raw.hex().encode(),
        "backwards": raw[::-1],
    }
    for shift in range(3):
        # the first and the last characters depend on the neighbours
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            whole = raw[: len(raw) - (len(raw) + shift) % 3]
            found[f"{name}, at {shift}"] = encode(b"\0" * shift + whole)[(0, 2, 3)[shift] :]
    return {name: form for name, form in found.items() if name == "as it is" or form != raw}


class Search:
    """Looks for all forms of all canaries. `hits`: `where: which secret, form`."""

    def __init__(self, canaries: Mapping[str, str]) -> None:
        self._forms = [
            (f"{name}, {how}", form) for name, text in canaries.items() for how, form in forms(text).items()
        ]
        self.hits: list[str] = []
        self.looked: dict[str, int] = {}

    def bytes(self, where: str, data: bytes, what: str) -> None:
        """One piece. what: under which word it is counted."""
        self.looked[what] = self.looked.get(what, 0) + 1
        data = written(data) if len(data) > SPARSE else data
        self.hits += [f"{where}: {name}" for name, form in self._forms if form in data]

    def file(self, path: Path, what: str) -> None:
        """One file with its name, and what is packed in it."""
        data = path.read_bytes()
        self.bytes(str(path), path.name.encode() + b"\n" + data, what)
        for name, part in unpacked(path.name, data):
            self.bytes(f"{path}!{name}", part, what)

    def tree(self, folder: Path, what: str, but: Iterable[Path] = ()) -> None:
        """All files below a folder, `but` those."""
        left_out = set(but)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path not in left_out:
                self.file(path, what)

    def process(self, pid: int) -> None:
        """What the kernel shows of a process. What it does not show to us, it shows to nobody like us."""
        for name in SHOWN_BY_PROC:
            try:
                data = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                self.looked["proc, hidden"] = self.looked.get("proc, hidden", 0) + 1
                continue
            self.bytes(f"/proc/{pid}/{name}", data, f"proc {name}")


def written(data: bytes) -> bytes:
    """The pages that hold anything, one behind the other: a segment is mostly zeros, and no secret is."""
    whole = len(data) // PAGE * PAGE
    pages = np.frombuffer(data, np.uint64, whole // 8).reshape(-1, PAGE // 8)
    return pages[pages.any(axis=1)].tobytes() + data[whole:]


def unpacked(name: str, data: bytes) -> list[tuple[str, bytes]]:
    """(name, contents) of what an archive or a compressed file holds."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return [(member, packed.read(member)) for member in packed.namelist()]
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            files = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
            return [(member, file.read()) for member, file in files if file is not None]
    return [(name.removesuffix(".gz"), gzip.decompress(data))] if name.endswith(".gz") else []
