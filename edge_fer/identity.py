"""Who this board is, where its configuration does not say."""

from __future__ import annotations

import hmac
import re
import socket
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")

LONGEST = 63
"""Of a node id, as of every part of a topic."""

_APPLICATION = b"edge-fer"
_DIGITS = 12  # 48 bits: among 100,000 boards of one host name, two are the same with a probability of 2 in 100,000


def default_node(machine_id_file: Path = MACHINE_ID, host: str | None = None) -> str:
    """A node id that no other board has: the host's name, and 12 digits made from the machine id.

    Boards of one image often have one host name. The machine id itself is never shown: machine-id(5) calls it
    confidential and wants it hashed with the application's name, as sd_id128_get_machine_app_specific(3) does. The
    host's name alone, where there is no machine id. Two boards with a copied machine id *and* one host name get the
    same: the collision guard of the broker's session finds that.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", (socket.gethostname() if host is None else host).lower()).strip("-")
    digits = _machine_digits(machine_id_file)
    if not digits:
        return name[:LONGEST].strip("-") or "node"
    name = name[: LONGEST - 1 - _DIGITS].strip("-")
    return f"{name}-{digits}" if name else digits


def _machine_digits(path: Path) -> str:
    """Empty where the system has no machine id, or none yet ("uninitialized")."""
    try:
        text = path.read_text(encoding="ascii").strip().lower()
    except (OSError, UnicodeDecodeError):
        return ""
    if not re.fullmatch(r"[0-9a-f]{32}", text) or not int(text, 16):
        return ""
    return hmac.new(bytes.fromhex(text), _APPLICATION, "sha256").hexdigest()[:_DIGITS]
