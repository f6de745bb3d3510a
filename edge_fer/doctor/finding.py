"""What one check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Result = Literal["ok", "skipped", "warning", "failed"]
RESULTS: tuple[Result, ...] = get_args(Result)
"""From harmless to worst."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table, for people; nothing secret."""

    result: Result
    found: str
    cure: str = ""  # what to do about it; "" where nothing is to be done
    about: str = ""  # which camera, package or file, where a check looks at several
    check: str = ""  # code of the check; filled in by whoever runs it


def ok(found: str, about: str = "") -> Finding:
    """All is well."""
    return Finding("ok", found, about=about)


def skipped(why: str, about: str = "", *, cure: str = "") -> Finding:
    """It was not looked at; why."""
    return Finding("skipped", why, cure, about)


def warning(found: str, cure: str, about: str = "") -> Finding:
    """It works, but somebody should know."""
    return Finding("warning", found, cure, about)


def failed(found: str, cure: str, about: str = "") -> Finding:
    """It does not work."""
    return Finding("failed", found, cure, about)
