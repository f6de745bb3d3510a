"""The files that are made from the types: schemas, AsyncAPI document, samples, examples in a manual."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_fer.errors import UnavailableError
from edge_fer.schema.asyncapi import asyncapi
from edge_fer.schema.json_schema import schemas
from edge_fer.schema.samples import samples

WIDTH = 160
"""Columns of an example in a manual."""

_BLOCK = re.compile(
    r"(<!-- sample: (?P<name>[a-z0-9-]+) -->\n```json\n)(?P<text>.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)


def files() -> dict[str, str]:
    """Path below the folder of schemas -> content, each with a final newline."""
    made = {f"{name}.json": pretty(schema) for name, schema in schemas().items()}
    made["asyncapi.json"] = pretty(asyncapi())
    for name, payload in samples().items():
        ending = "txt" if name.startswith("status-") else "json"
        made[f"samples/{name}.{ending}"] = payload.decode() + "\n"
    return made


def write_files(folder: Path) -> list[Path]:
    """Write all files, each at once or not at all; UnavailableError where that cannot be done."""
    return [write(folder / name, text) for name, text in files().items()]


def write(path: Path, text: str) -> Path:
    """Write beside, then rename; UnavailableError names the file."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)  # noqa: PTH105 - the name says that it replaces
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be written ({err.strerror})") from err
    return path


def pretty(document: Any) -> str:  # noqa: ANN401 - any JSON
    """JSON for people and for `git diff`."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def with_examples(manual: str) -> str:
    """The manual with the block after each `<!-- sample: NAME -->` made anew; KeyError for a name that there is not."""
    made = samples()
    return _BLOCK.sub(lambda block: block[1] + filled(json.loads(made[block["name"]])) + "\n", manual)


def stale_examples(manual: str) -> list[str]:
    """Names of the blocks that are not what their sample is."""
    fresh = {block["name"]: block["text"] for block in _BLOCK.finditer(with_examples(manual))}
    return [block["name"] for block in _BLOCK.finditer(manual) if block["text"] != fresh[block["name"]]]


def filled(value: Any, column: int = 0) -> str:  # noqa: ANN401 - any JSON
    """JSON on as few lines as there is need for: items follow each other up to the width, as words do."""
    flat = json.dumps(value, ensure_ascii=False)
    if column + len(flat) <= WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    left = column + 1
    lines: list[str] = []
    for item in _items(value, left):
        fits = lines and left + len(lines[-1]) + len(item) + 3 <= WIDTH
        if fits and "\n" not in f"{lines[-1]}{item}":
            lines[-1] += f", {item}"
        else:
            lines.append(item)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + (",\n" + " " * left).join(lines) + closing


def _items(value: Mapping[str, Any] | list[Any], left: int) -> Iterator[str]:
    if isinstance(value, list):
        yield from (filled(item, left) for item in value)
        return
    for key, item in value.items():
        head = f"{json.dumps(key)}: "
        yield head + filled(item, left + len(head))
