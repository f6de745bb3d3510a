"""Keeps credentials out of everything that is shown, logged or published."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)([^/@\s:]*):[^/\s]*@")


def hide_password(text: str) -> str:
    """The text with the password of every URL in it replaced by ***; user names stay."""
    return _USER_INFO.sub(r"\1:***@", text)
