"""A diagnosis as JSON: its fields, and what follows from them."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from edge_fer.bench.figures import Diagnosis

DIGITS = 6


def to_json(diagnosis: Diagnosis) -> str:
    """One line; null is what was not measured."""
    return json.dumps({"schema": 1, **_told(diagnosis)})


def _told(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if is_dataclass(value):
        # What is computed of the fields is told too: nobody should have to know that joules are watts over fps.
        computed = [name for name, member in vars(type(value)).items() if isinstance(member, property)]
        names = [*(field.name for field in fields(value)), *computed]
        return {name: _told(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: _told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None  # JSON has no NaN
    return value
