"""Layer 3, whoever connects, cold: the address that connections to a broker leave from.

A broker takes orders only from an address that he knows. On a machine with several the kernel would choose
one by the route; a source address in the configuration takes the choice, and the kind of address with it.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

_KINDS: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


def family_of(address: str, otherwise: int = socket.AF_UNSPEC) -> int:
    """AF_INET or AF_INET6, as the source address is; `otherwise` where none is given."""
    if not address:
        return otherwise
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def why_not_ours(address: str) -> str:
    """Why no connection can leave from `address`; "": it is this machine's, or none is given."""
    if not address:
        return ""
    family = socket.AddressFamily(family_of(address))
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as trial:
            trial.bind((address, 0))
    except OSError as error:
        return f"no {_KINDS[family]} address of this machine ({error.strerror or error})"
    return ""
