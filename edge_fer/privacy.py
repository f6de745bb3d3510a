"""Keeps credentials out of everything that is shown, logged or published."""

from __future__ import annotations

import re

# Greedy to the last @: a password may hold one, or a slash. Rather hide too much.
_USER_INFO = re.compile(r"""(?<=://)([^@\s:"'/]*):[^\s"']*@""")
_SECRET_OPTION = re.compile(
    r"""([?&][^=&\s"']*(?:pass|pwd|token|key|auth|secret)[^=&\s"']*=)[^&\s"']+""", re.IGNORECASE
)


def hide_password(text: str) -> str:
    """The text with the passwords of all URLs in it, and what looks like one in their queries, replaced by ***."""
    return _SECRET_OPTION.sub(r"\1***", _USER_INFO.sub(r"\1:***@", text))
