"""Reads payloads of anybody: what is not as it should be is None, and no text can steer a terminal."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import datetime, timezone
from typing import Any, NoReturn

LONGEST_TEXT = 240
LARGEST = 1e15
PAYLOAD_MAX = 65_536
"""Bytes of a payload that is read; those of edge-fer are a tenth of it at most."""

_TIME = re.compile(r"(2\d{3})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class Body:
    """A JSON object; each question is answered with None where the key is missing or of another kind."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self._keys = keys

    def text(self, key: str) -> str | None:
        """A string, harmless and not too long."""
        value = self._keys.get(key)
        return harmless(value) if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """A number of a size that something can have."""
        value = self._keys.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > LARGEST:
            return None
        return float(value)

    def count(self, key: str) -> int | None:
        """A whole number from 0."""
        value = self.number(key)
        return int(value) if value is not None and value >= 0 else None

    def share(self, key: str) -> float | None:
        """A number from 0 to 1."""
        value = self.number(key)
        return value if value is not None and 0 <= value <= 1 else None

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._keys.get(key)
        return value if isinstance(value, bool) else None

    def time_ns(self, key: str) -> int | None:
        """A time as RFC 3339, UTC, since 1970."""
        value = self._keys.get(key)
        return unix_ns(value) if isinstance(value, str) else None

    def texts(self, key: str, at_most: int) -> tuple[str, ...] | None:
        """The strings of a list."""
        value = self._keys.get(key)
        if not isinstance(value, list):
            return None
        return tuple(harmless(item) for item in value[:at_most] if isinstance(item, str))

    def bodies(self, key: str, at_most: int) -> tuple[Body, ...]:
        """The objects of a list."""
        value = self._keys.get(key)
        items = value[:at_most] if isinstance(value, list) else []
        return tuple(Body(item) for item in items if isinstance(item, dict))

    def numbers(self, key: str, inner: str, at_most: int) -> dict[str, float]:
        """Of an object of objects: one number of each that has it."""
        value = self._keys.get(key)
        items = list(value.items())[:at_most] if isinstance(value, dict) else []
        found = {harmless(name): Body(item).number(inner) for name, item in items if isinstance(item, dict)}
        return {name: number for name, number in found.items() if number is not None}

    def body(self, key: str) -> Body:
        """An object; an empty one where there is none."""
        value = self._keys.get(key)
        return Body(value if isinstance(value, dict) else {})


def read_json(payload: bytes) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    """What standard JSON in UTF-8 says; ValueError where it is none (NaN, infinity and endless nesting are none)."""
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_body(payload: bytes) -> Body | None:
    """The JSON object in a payload; None where it is none, or is too large."""
    if len(payload) > PAYLOAD_MAX:
        return None
    try:
        value = read_json(payload)
    except ValueError:
        return None
    return Body(value) if isinstance(value, dict) else None


def harmless(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without any character that a terminal acts on, or that hides or turns around what stands beside it.

    Those are shown as in Python: a new line as backslash and n. Longer texts end with three dots.
    """
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return shown if shown.isprintable() else "".join(_shown(char) for char in shown)


def unix_ns(text: str) -> int | None:
    """A time such as 2026-11-22T19:09:23.957Z; None where it is none of this millennium."""
    if not (match := _TIME.fullmatch(text)):
        return None
    try:
        whole = datetime(*(int(part) for part in match.groups()[:6]), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    return int(whole.timestamp()) * 1_000_000_000 + int((match[7] or "0").ljust(9, "0"))


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return " " if unicodedata.category(char) == "Zs" else char.encode("unicode_escape", "backslashreplace").decode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value
