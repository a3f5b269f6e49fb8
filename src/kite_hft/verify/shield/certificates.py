"""Layer 6, campaign of TLS, cold: certificates that are right in all but one thing, and who shows them.

All are made by the `openssl` command in a folder of the campaign's own and die with it. The server is
`openssl s_server`: what comes to it decrypted it writes down, so that a byte that left is seen.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.verify.campaign import CampaignError

HERE: Final = "subjectAltName=IP:127.0.0.1"
START_S: Final = 10.0
GOOD: Final = "good"
AUTHORITY: Final = """
[ca]
default_ca = own
[own]
new_certs_dir = {folder}
database = {folder}/{name}.index
serial = {folder}/{name}.serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One certificate. signer: "" for itself. server: further options of the server."""

    name: str
    signer: str = "trusted"
    extension: str = HERE
    begins: str = "20200101000000Z"
    ends: str = "20991231000000Z"
    server: tuple[str, ...] = ()
    subject: str = "/CN=kite_hft campaign"


CASES: Final = (
    Case(GOOD),
    Case("self-signed", signer=""),
    Case("wrong host", extension="subjectAltName=DNS:other.example"),
    Case("wrong address", extension="subjectAltName=IP:127.0.0.2"),
    Case("name in the subject alone", extension="keyUsage=digitalSignature", subject="/CN=127.0.0.1"),
    Case("expired", ends="20210101000000Z"),
    Case("not yet valid", begins="20980101000000Z"),
    Case("authority nobody knows", signer="unknown"),
    Case("revoked, authority nobody knows", signer="unknown", extension=f"{HERE},URI:http://127.0.0.1/crl"),
    Case("for clients alone", extension=f"{HERE}\nextendedKeyUsage=clientAuth"),
    Case("TLS 1.1", server=("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")),
)


def run(*words: str | Path) -> None:
    """One call of openssl.

    Raises:
        CampaignError: it is not installed, or it failed; with its words.
    """
    found = shutil.which("openssl")
    if found is None:
        raise CampaignError("no openssl command: apt-get install openssl")
    done = subprocess.run([found, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CampaignError(f"openssl {words[0]}: {done.stderr.strip()[-400:]}")


def make_authority(folder: Path, name: str) -> Path:
    """A certificate authority; its certificate."""
    certificate = folder / f"{name}.pem"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9000")
    run("req", "-x509", *new_key, "-keyout", folder / f"{name}.key", "-out", certificate,
        "-subj", f"/CN=kite_hft {name}")  # fmt: skip
    (folder / f"{name}.index").write_text("")
    (folder / f"{name}.serial").write_text("1000\n")
    (folder / f"{name}.conf").write_text(AUTHORITY.format(folder=folder, name=name))
    return certificate


def make_certificate(folder: Path, case: Case) -> tuple[Path, Path]:
    """(certificate, key) of a case; its authority stands in `folder`."""
    stem = re.sub(r"\W+", "-", case.name)
    key, request, made = (folder / f"{stem}{end}" for end in (".key", ".csr", ".pem"))
    own = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key)]
    for line in case.extension.splitlines():
        own += ["-addext", line]
    if not case.signer:
        run("req", "-x509", *own, "-out", made, "-subj", case.subject, "-days", "30")
        return made, key
    run("req", "-new", *own, "-out", request, "-subj", case.subject)
    run("ca", "-batch", "-notext", "-config", folder / f"{case.signer}.conf", "-in", request, "-out", made,
        "-cert", folder / f"{case.signer}.pem", "-keyfile", folder / f"{case.signer}.key",
        "-startdate", case.begins, "-enddate", case.ends)  # fmt: skip
    return made, key


class Server:
    """Shows one certificate on 127.0.0.1 and writes down what it is told."""

    def __init__(self, heard: Path, port: int) -> None:
        self._heard, self.port = heard, port

    def heard(self, text: str) -> bool:
        """Whether `text` came to it, decrypted."""
        return text in self._heard.read_text(errors="replace")


@contextmanager
def serving(folder: Path, case: Case) -> Iterator[Server]:
    """A server with the certificate of `case`.

    Raises:
        CampaignError: it does not start.
    """
    made, key = make_certificate(folder, case)
    heard = made.with_suffix(".heard")
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(made), "-key", str(key)]
    with heard.open("wb") as out:
        process = subprocess.Popen(
            [*command, *case.server], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"ACCEPT 127\.0\.0\.1:(\d+)", heard.read_text(errors="replace"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CampaignError(f"openssl s_server: {heard.read_text(errors='replace')[-400:]}")
            time.sleep(0.02)
        yield Server(heard, int(found[1]))
    finally:
        process.kill()
        process.communicate()
