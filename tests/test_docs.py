"""The documents say what the code does, as far as a program can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from edge_fer.capture.uri import FORMATS, OPTIONS, parse_camera_uri
from edge_fer.capture.watch import WatchSettings
from edge_fer.channels import CHANNELS
from edge_fer.config import BrokerSettings, CameraSettings, Config, ModelSettings
from edge_fer.decide import DecideSettings
from edge_fer.events import (
    Alert,
    CameraCondition,
    CameraState,
    CameraStatus,
    EndReason,
    ExpressionEvent,
    Health,
    NodeInfo,
    Privacy,
    SelfTest,
    Throughput,
)
from edge_fer.health.selftest import SelfTestSettings
from edge_fer.quality import QualitySettings, Refusal
from edge_fer.toml import Settings
from edge_fer.tracking.search import DetectorSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

PAYLOADS = (
    Alert,
    CameraState,
    CameraStatus,
    ExpressionEvent,
    Health,
    NodeInfo,
    Privacy,
    SelfTest,
    Throughput,
)


def manual(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """Of its headings, as the hosting sites make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                yield document, target


@pytest.mark.parametrize(
    "table",
    [
        Config,
        BrokerSettings,
        CameraSettings,
        ModelSettings,
        DetectorSettings,
        QualitySettings,
        DecideSettings,
        SelfTestSettings,
    ],
    ids=lambda table: table.__name__,
)
def test_the_manual_of_the_configuration_names_every_key(table: type[Settings]) -> None:
    text = manual("configuration.md")
    assert [key for key in table.model_fields if not re.search(rf"\b{key}\b", text)] == []


def test_the_manual_of_the_cameras_names_every_key_option_and_state() -> None:
    text = manual("cameras.md")
    wanted = {*WatchSettings.model_fields, *get_args(CameraCondition)}
    assert [key for key in sorted(wanted) if f"`{key}`" not in text] == []
    assert [scheme for scheme in OPTIONS if scheme != "url" and f"{scheme}:" not in text] == []
    assert [name for names in OPTIONS.values() for name in names if f"{name}=" not in text] == []
    assert [name for name in FORMATS if name not in text] == []


def test_the_addresses_of_the_manual_are_right() -> None:
    table = manual("cameras.md").partition("## Addresses")[2].partition("\n\n- ")[0]
    parsed = 0
    for first, options in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        query = "&".join(re.findall(r"`([^`]+)`", options))
        for address in re.findall(r"`([^`]+)`", first):
            if "//" in address and not address.endswith("//"):
                parse_camera_uri(address)
            elif re.match(r"[a-z0-9]+:(?!//)", address):
                parse_camera_uri(f"{address}?{query}")
                parsed += 1
    assert parsed == len(OPTIONS) - 1


def test_the_manual_of_mqtt_names_every_topic() -> None:
    text = manual("mqtt.md")
    for channel in CHANNELS:
        topic = channel.topic.format(camera="<name>", rule="<rule>")
        row = re.search(rf"^\| `{re.escape(topic)}` \| (\S+) \| (\d) \|", text, re.MULTILINE)
        assert row, topic
        assert (row[1].strip("*"), int(row[2])) == ("yes" if channel.retain else "no", channel.qos), topic


def test_the_manual_of_mqtt_has_a_whole_example_of_every_payload() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```", manual("mqtt.md"), re.DOTALL | re.MULTILINE)
    examples = [json.loads(text) for text in blocks]
    left = list(PAYLOADS)
    for example in examples:
        payload = next(known for known in left if keys(known) == set(example))
        left.remove(payload)
        made: Any = TypeAdapter(payload).validate_python(example, strict=False)
        assert made.schema_version == 1
    assert left == []


def keys(payload: type) -> set[str]:
    return {field.name for field in fields(payload)}


def test_the_manual_of_mqtt_names_every_reason() -> None:
    text = manual("mqtt.md")
    assert [reason for reason in (*get_args(EndReason), *get_args(Refusal)) if reason not in text] == []


def test_the_architecture_names_every_module() -> None:
    text = manual("architecture.md")
    package = ROOT / "edge_fer"
    modules = [path.relative_to(package) for path in package.rglob("*.py") if not path.name.startswith("_")]
    assert [str(path) for path in modules if not re.search(rf"\b{path.stem}\b", text)] == []


def test_links_between_documents_lead_somewhere() -> None:
    for document, target in links():
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{document.name}: {target}"
