"""The documents say what the code does, as far as a program can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from edge_fer.bench.figures import (
    BaselineRow,
    Diagnosis,
    Energy,
    Load,
    Measured,
    PipelineRow,
    ReportedRow,
    Row,
    Speed,
)
from edge_fer.bench.table import NETWORKS, PIPELINE
from edge_fer.capture.uri import FORMATS, OPTIONS, parse_camera_uri
from edge_fer.capture.watch import WatchSettings
from edge_fer.channels import CHANNELS
from edge_fer.cli import cli
from edge_fer.config import BrokerSettings, CameraSettings, Config, ModelSettings
from edge_fer.decide import DecideSettings
from edge_fer.envelope import opened
from edge_fer.events import (
    Alert,
    CameraCondition,
    CameraState,
    CameraStatus,
    Claim,
    EndReason,
    ExpressionEvent,
    GovernorState,
    Health,
    NodeInfo,
    Power,
    Privacy,
    Reply,
    SelfTest,
    Throughput,
)
from edge_fer.governor.settings import GovernorSettings
from edge_fer.health.selftest import SelfTestSettings
from edge_fer.homeassistant.settings import HomeAssistantSettings
from edge_fer.metrics.settings import MetricsSettings
from edge_fer.mqtt.problems import BROKER_PROBLEMS
from edge_fer.power_modes.ask import SOCKET
from edge_fer.power_modes.choose import PREFERRED
from edge_fer.power_modes.nvpmodel import parse_conf
from edge_fer.quality import QualitySettings
from edge_fer.readability import Refusal
from edge_fer.remote.requests import BODIES
from edge_fer.remote.settings import COMMANDS, CommandSettings
from edge_fer.sensors.settings import PowerSettings
from edge_fer.toml import Settings, read_toml
from edge_fer.tracking.search import DetectorSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/mosquitto/README.md", "docs/schema/README.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
)

PAYLOADS = (
    Alert,
    CameraState,
    CameraStatus,
    Claim,
    ExpressionEvent,
    GovernorState,
    Health,
    NodeInfo,
    Power,
    Privacy,
    Reply,
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


TABLES: dict[str, type[Settings]] = {
    "broker": BrokerSettings,
    "outbox": type(Config.model_fields["outbox"].default),
    "camera.front": CameraSettings,
    "model": ModelSettings,
    "detector": DetectorSettings,
    "quality": QualitySettings,
    "decide": DecideSettings,
    "self_test": SelfTestSettings,
    "commands": CommandSettings,
    "power": PowerSettings,
    "governor": GovernorSettings,
    "homeassistant": HomeAssistantSettings,
    "metrics": MetricsSettings,
}


def example_tables() -> dict[str, str]:
    """The example of the configuration, table by table; the keys before the first are of ""."""
    example = manual("configuration.md").partition("```toml\n")[2].partition("```")[0]
    head, *parts = re.split(r"^(?:# )?\[([\w.]+)\]", example, flags=re.MULTILINE)
    return {"": head, **dict(zip(parts[::2], parts[1::2], strict=True))}


def shown_keys(table: str, folder: Path) -> dict[str, Any]:
    """Those that are no comments."""
    (folder / "table.toml").write_text(example_tables()[table], encoding="utf-8")
    return read_toml(folder / "table.toml")


@pytest.mark.parametrize("table", TABLES)
def test_the_example_of_the_configuration_names_every_key(table: str) -> None:
    """With its default, or as a comment where it has none."""
    text = example_tables()[table]
    assert [key for key in TABLES[table].model_fields if not re.search(rf"^(# )?{key} = ", text, re.MULTILINE)] == []


def test_the_example_of_the_configuration_names_every_table() -> None:
    shown = example_tables()
    tables = {name.partition(".")[0] for name in shown if name}
    keys_at_the_top = set(re.findall(r"^(?:# )?(\w+) = ", shown[""], re.MULTILINE))
    assert tables | keys_at_the_top == set(Config.model_fields)


@pytest.mark.parametrize("table", [name for name in TABLES if name not in ("camera.front", "broker")])
def test_the_example_of_the_configuration_shows_the_defaults(table: str, tmp_path: Path) -> None:
    shown = shown_keys(table, tmp_path)
    made = TABLES[table]()
    assert {key: getattr(made, key) for key in shown} == shown


def test_the_example_of_a_broker_shows_the_defaults(tmp_path: Path) -> None:
    shown = shown_keys("broker", tmp_path)
    assert BrokerSettings(url=shown["url"]).model_dump(include=set(shown)) == shown


@pytest.mark.parametrize("table", ["outbox", "metrics", "power", "governor"])
def test_the_limits_of_a_number_are_in_a_manual(table: str) -> None:
    """As `from to to`, in a row or comment of the key."""
    text = manual("configuration.md") + manual("metrics.md")
    for key, schema in TABLES[table].model_json_schema()["properties"].items():
        number = next((one for one in schema.get("anyOf", [schema]) if "minimum" in one), None)
        if number:
            limits = f"{number['minimum']:g} to {number['maximum']:.0f}"
            assert re.search(rf"\b{key}\b.*{re.escape(limits)}", text), f"{key}: {limits}"


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
        topic = channel.topic.format(camera="<name>", rule="<rule>", command="<command>")
        row = re.search(rf"^\| `{re.escape(topic)}` \| (\S+) \| (\d) \| (\w+) \|", text, re.MULTILINE)
        assert row, topic
        kept = "lost" if channel.kept == "live" else channel.kept
        assert (row[1].strip("*"), int(row[2]), row[3]) == ("yes" if channel.retain else "no", channel.qos, kept), topic


def test_the_readme_names_every_topic() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    topics = [channel.topic.format(camera="<name>", rule="<rule>", command="<command>") for channel in CHANNELS]
    assert [topic for topic in topics if f"`{topic}`" not in text] == []


def test_the_manual_of_mqtt_has_a_whole_example_of_every_payload() -> None:
    published = r"^<!-- sample: (?!cmd-)\S+ -->\n```json\n(.*?)^```"
    blocks = re.findall(published, manual("mqtt.md"), re.DOTALL | re.MULTILINE)
    examples = [opened(json.loads(text)) for text in blocks]
    shown = set()
    for example in examples:
        payload = next(known for known in PAYLOADS if keys(known) == set(example))
        shown.add(payload)
        made: Any = TypeAdapter(payload).validate_python(example, strict=False)
        assert made.schema_version == 1
    assert shown == set(PAYLOADS)


REQUESTS = [set(body.model_fields) for body in BODIES.values()]


def keys(payload: type) -> set[str]:
    return {field.name for field in fields(payload)}


def test_the_manual_of_mqtt_names_every_key_of_events_alerts_health_and_commands() -> None:
    text = manual("mqtt.md")
    wanted = {*keys(ExpressionEvent), *keys(Alert), *keys(Health), *(key for body in REQUESTS for key in body)}
    assert [key for key in sorted(wanted) if f"{key}`" not in text and f'"{key}"' not in text] == []


def test_the_manual_of_mqtt_names_every_command() -> None:
    text = manual("mqtt.md").partition("## cmd/COMMAND")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == list(COMMANDS)


def test_the_manual_of_mqtt_names_every_problem_and_no_other() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "edge_fer").rglob("*.py"))
    told = set(re.findall(r"keep(?:_and_log)?\(\"([a-z-]+)\"", source))
    told |= set(re.findall(r"\"([a-z-]+)\": self\._\w+\.problem", source))
    table = manual("mqtt.md").partition("\n## health")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    assert {"self-test", "config-error"} <= told
    assert named == told | set(BROKER_PROBLEMS)


def test_the_manual_of_mqtt_names_every_reason() -> None:
    text = manual("mqtt.md")
    assert [reason for reason in (*get_args(EndReason), *get_args(Refusal)) if reason not in text] == []


def commands_shown() -> Iterator[tuple[Path, str, list[str]]]:
    """Document, command and options of each line of a manual that is to be typed."""
    for document in DOCUMENTS:
        for words in re.findall(r"^ {4,}(?:sudo )?edge-fer (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE):
            typed = words.partition(" #")[0]
            first = typed.split()[0]
            yield document, "bench" if first.startswith("--") else first, re.findall(r"(?<!\S)--[a-z-]+", typed)


def test_commands_that_are_shown_exist_with_their_options() -> None:
    shown = list(commands_shown())
    assert {"run", "bench", "tune", "doctor", "power-mode"} <= {name for _, name, _ in shown}
    for document, name, options in shown:
        command = cli.commands.get(name)
        assert command, f"{document.name}: edge-fer {name}"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert [option for option in options if option not in known] == [], f"{document.name}: edge-fer {name}"


FIGURES = (Diagnosis, Measured, Row, Speed, Energy, PipelineRow, ReportedRow, BaselineRow, Load)


def test_the_manual_of_power_names_every_key_of_the_json() -> None:
    text = manual("power.md").partition("\n## JSON")[2]
    for figures in FIGURES:
        assert is_dataclass(figures)
        computed = [name for name, member in vars(figures).items() if isinstance(member, property)]
        wanted = [*(field.name for field in fields(figures)), *computed]
        assert [key for key in wanted if f"`{key}`" not in text] == [], figures.__name__


def test_the_manual_of_power_names_every_column() -> None:
    text = manual("power.md").partition("\n## Columns")[2].partition("\n### TensorFlow")[0]
    for column in (*NETWORKS, *PIPELINE):
        words = [*column.above.split(), *column.below.split()]
        assert [word for word in words if word not in text] == [], column


def test_the_example_of_the_manual_of_power_is_a_table_of_the_tests() -> None:
    example = manual("power.md").partition("\n## An example")[2].partition("\n## ")[0]
    golden = (ROOT / "tests/bench/golden/jetson-agx-xavier.txt").read_text(encoding="utf-8").splitlines()
    shown = [line[4:] for line in example.splitlines() if line.startswith("    ")]
    assert len(shown) > 8
    assert [line for line in shown if line not in golden] == []


def test_the_manual_of_power_has_the_modes_that_are_meant_and_the_defaults() -> None:
    text = manual("power.md").partition("\n## Power modes")[2]
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for meant in PREFERRED.values():
        assert [f"{watts:g}W: `{name}`" for watts, name in meant.items() if f"{watts:g}W: `{name}`" not in table] == []
    files = sorted((ROOT / "tests/boards").glob("*/etc/nvpmodel.conf"))
    assert len(files) > 5
    for file in files:
        conf = parse_conf(file.read_text(encoding="utf-8"))
        assert conf.default is not None
        assert f"**{conf.default} {conf.modes[conf.default].name}**" in table, file


def test_the_manual_of_power_installs_the_units_that_there_are() -> None:
    text = manual("power.md")
    files = [file.relative_to(ROOT) for file in (ROOT / "systemd").rglob("*power-mode*")]
    files += [Path("systemd/tmpfiles.d/edge-fer.conf"), Path("systemd/udev/60-edge-fer.rules")]
    assert len(files) == 5
    assert [str(file) for file in files if str(file) not in text] == []
    assert f"`/{SOCKET}`" in text
    service = (ROOT / "systemd/edge-fer-power-mode@.service").read_text(encoding="utf-8")
    socket = (ROOT / "systemd/edge-fer-power-mode.socket").read_text(encoding="utf-8")
    assert f"ListenStream=/{SOCKET}\n" in socket
    assert "ExecStart=/opt/edge-fer/current/bin/python " in service
    assert "python3 -m venv /opt/edge-fer/current`" in text
    assert "SocketGroup=edge-fer\n" in socket
    assert "`groupadd --system edge-fer`" in text


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
