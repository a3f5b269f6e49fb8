"""Layer 6, by hand, cold: who sits at this terminal, for journals and latches. Loads little."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """The name of the user, or `uid 1000` of one without a name: a container's user stands in no list of
    users, and no verb may fail for that."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
