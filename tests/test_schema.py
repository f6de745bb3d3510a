"""Schemas, samples and promises: they are what the types say, and only grow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import TypeAdapter

from edge_fer.channels import CHANNELS, COMMAND, STATUS
from edge_fer.cli import main
from edge_fer.envelope import opened
from edge_fer.schema.asyncapi import asyncapi
from edge_fer.schema.catalogue import REQUESTS, Entry, catalogue
from edge_fer.schema.contract import broken, contract
from edge_fer.schema.documents import files, stale_examples, with_examples
from edge_fer.schema.json_schema import schema_of, schemas
from edge_fer.schema.notes import field_notes
from edge_fer.schema.samples import REQUEST_SAMPLES, messages, samples
from edge_fer.toml import Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "schema"
RELEASED = sorted((FOLDER / "released").glob("*.json"))
ANEW = "run `python -m edge_fer.schema`, look at what changed, and commit it"


def entry_of(sample: str) -> Entry:
    name = max((name for name in catalogue() if f"{sample}-".startswith(f"{name}-")), key=len)
    return catalogue()[name]


def published() -> list[str]:
    return [name for name in messages() if not name.startswith("cloudevents-")]


# What is committed


def test_the_committed_files_are_what_the_types_say() -> None:
    made = files()
    there = {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*")
        if path.suffix in {".json", ".txt"} and path.parent.name != "released"
    }
    assert sorted(there) == sorted(made), ANEW
    assert [name for name, text in made.items() if there[name] != text] == [], ANEW


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_examples_of_a_manual_are_the_samples(path: Path) -> None:
    assert stale_examples(path.read_text(encoding="utf-8")) == [], ANEW


def test_the_manual_of_mqtt_shows_every_kind_of_payload_by_its_sample() -> None:
    manual = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json$", manual, re.MULTILINE)
    marked = re.findall(r"^<!-- sample: (.+) -->\n```json\n", manual, re.MULTILINE)
    assert len(blocks) == len(marked), "an example of JSON without its `<!-- sample: NAME -->`"
    published = {name for name, entry in catalogue().items() if entry.channel not in {STATUS, COMMAND}}
    assert published <= {entry_of(name).name for name in marked if not name.startswith("cloudevents-")}


def test_an_example_that_somebody_edited_is_found_and_made_anew() -> None:
    manual = "Text.\n\n<!-- sample: identity -->\n```json\n{}\n```\n\n```json\n{}\n```\n"
    assert stale_examples(manual) == ["identity"]
    fresh = with_examples(manual)
    assert stale_examples(fresh) == []
    assert json.loads(fresh.split("```json\n")[1].partition("```")[0]) == json.loads(samples()["identity"])
    assert fresh.endswith("```json\n{}\n```\n"), "an example without a mark is left alone"


# Samples


@pytest.mark.parametrize("name", [name for name in samples() if not name.startswith("cloudevents-")])
def test_a_sample_is_as_its_schema_says(name: str) -> None:
    entry = entry_of(name)
    payload = samples()[name]
    told = json.loads(payload) if entry.payload else payload.decode()
    validator(entry).validate(told)


@pytest.mark.parametrize("name", published())
def test_a_sample_comes_back_as_the_same_bytes(name: str) -> None:
    payload = entry_of(name).payload
    assert payload is not None
    read: Any = TypeAdapter(payload).validate_json(samples()[name])
    assert json.dumps(asdict(read), ensure_ascii=False, separators=(",", ":")).encode() == samples()[name]


@pytest.mark.parametrize("name", published())
def test_a_sample_has_every_key_in_its_order(name: str) -> None:
    payload = entry_of(name).payload
    assert is_dataclass(payload)
    assert list(json.loads(samples()[name])) == [field.name for field in fields(payload)]


def test_every_kind_of_payload_has_a_sample() -> None:
    assert {entry_of(name).name for name in samples() if not name.startswith("cloudevents-")} == set(catalogue())
    assert set(REQUEST_SAMPLES) == set(REQUESTS)


@pytest.mark.parametrize("name", published())
def test_every_key_of_a_payload_is_required_and_more_may_come(name: str) -> None:
    check = validator(entry_of(name))
    told = json.loads(samples()[name])
    check.validate({**told, "key_of_a_later_version": 1})
    for key in told:
        assert not check.is_valid({other: value for other, value in told.items() if other != key}), key


@pytest.mark.parametrize(
    ("name", "key", "wrong"),
    [
        ("camera-events-update", "type", "began"),
        ("camera-events-update", "reason", "vanished"),
        ("camera-events-update", "confidence", 1.2),
        ("camera-events-update", "scores", {"anger": -0.1}),
        ("camera-events-update", "occurred_at", "2026-11-22 19:09:23"),
        ("camera-events-update", "occurred_at", ""),
        ("camera-events-update", "published_at", "now"),
        ("camera-events-update", "replayed", "false"),
        ("camera-events-update", "box", {"left_px": 1}),
        ("camera-state", "faces", -1),
        ("health", "self_test_at", "yesterday"),
        ("alert-active", "state", "raised"),
    ],
)
def test_a_schema_refuses_what_is_never_published(name: str, key: str, wrong: object) -> None:
    told = json.loads(samples()[name])
    assert not validator(entry_of(name)).is_valid({**told, key: wrong})


def validator(entry: Entry) -> jsonschema.Draft202012Validator:
    schema = schema_of(entry)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


# From the source


class Request(Settings):
    """Close cameras."""

    for_s: float = 60
    """For how long."""

    plain: int = 0


class Commented:
    value: Literal["a"]  # a comment, with # in it
    both: str = "# not a comment"
    long: dict[str, int] = {}  # noqa: RUF012


def test_descriptions_are_what_the_source_says_about_a_key() -> None:
    assert field_notes(Commented) == {"value": "a comment, with # in it"}
    assert field_notes(Request) == {"for_s": "For how long."}
    assert field_notes(int) == {}


def test_a_request_is_described_with_its_defaults() -> None:
    schema = schema_of(Entry("cmd-test", COMMAND, Request, "test"))
    assert schema["description"] == "Close cameras."
    assert schema["properties"]["for_s"] == {"type": "number", "default": 60, "description": "For how long."}
    assert schema["additionalProperties"] is False
    assert "required" not in schema


# AsyncAPI


def test_the_asyncapi_document_has_every_channel_with_its_quality() -> None:
    document = asyncapi()
    for channel in CHANNELS:
        if channel is COMMAND and not REQUESTS:
            continue
        (name,) = [
            name for name, one in document["channels"].items() if one["address"] == f"edge-fer/{{node}}/{channel.topic}"
        ]
        one = document["channels"][name]
        assert set(one["parameters"]) == set(re.findall(r"\{(\w+)\}", one["address"]))
        operations = [op for op in document["operations"].values() if op["channel"]["$ref"] == f"#/channels/{name}"]
        assert operations
        for operation in operations:
            binding = operation["bindings"]["mqtt"]
            assert (binding["qos"], binding["retain"]) == (channel.qos, channel.retain)
            assert binding.get("messageExpiryInterval") == channel.expiry_s


def test_the_daemon_sends_and_only_takes_commands_and_claims() -> None:
    operations = asyncapi()["operations"].values()
    received = {operation["channel"]["$ref"] for operation in operations if operation["action"] == "receive"}
    assert received == {"#/channels/identity"} | ({"#/channels/cmd"} if REQUESTS else set())


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    text = json.dumps(document)
    found = re.findall(r'"\$ref": "([^"]+)"', text)
    assert len(found) > 30
    for reference in found:
        here: Any = document
        assert reference.startswith("#/"), reference
        for step in reference[2:].split("/"):
            here = here[step]
    # An operation names messages through its channel, which is what the rules ask for.
    for operation in document["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{operation['channel']['$ref']}/messages/")


def test_the_messages_of_the_asyncapi_document_have_examples_that_fit() -> None:
    document = asyncapi()
    for message in document["components"]["messages"].values():
        schema = {"$ref": message["payload"]["$ref"], "components": document["components"]}
        assert message["examples"]
        for example in message["examples"]:
            jsonschema.Draft202012Validator(schema).validate(example["payload"])


# Promises


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_nothing_that_was_released_is_broken(path: Path) -> None:
    assert broken(json.loads(path.read_text(encoding="utf-8")), contract()) == []


def test_there_is_something_released() -> None:
    assert RELEASED
    assert broken(contract(), contract()) == []


BEFORE: dict[str, Any] = {
    "events": {
        "topic": "t",
        "qos": 1,
        "retain": False,
        "keys": {
            "id": "string",
            "type": ["start", "end"],
            "box": "object",
            "box.left_px": "integer",
            "box.top_px": "integer",
        },
    }
}


def after(**changes: Any) -> dict[str, Any]:
    return {"events": {**BEFORE["events"], **changes}}


def keys(**changes: Any) -> dict[str, Any]:
    return after(keys={**BEFORE["events"]["keys"], **changes})


@pytest.mark.parametrize(
    "now",
    [
        keys(note="string"),
        keys(type=["start", "update", "end"]),
        keys(**{"box.width_px": "integer"}),
        {**BEFORE, "more": BEFORE["events"]},
    ],
    ids=["a key at the end", "a value", "a key within", "a channel"],
)
def test_growing_breaks_nothing(now: dict[str, Any]) -> None:
    assert broken(BEFORE, now) == []


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, "events: the channel is gone"),
        (after(topic="u"), "events: topic was 't', is 'u'"),
        (after(qos=0), "events: qos was 1, is 0"),
        (after(retain=True), "events: retain was False, is True"),
        (after(keys={"id": "string"}), "events: type is gone"),
        (keys(id="integer"), 'events: id was "string", is "integer"'),
        (keys(id="null|string"), 'events: id was "string", is "null|string"'),
        (keys(type=["start"]), 'events: type has lost the values ["end"]'),
        (keys(type=["start", "end", None]), "events: type was never null"),
        (keys(type="string"), 'events: type was ["start", "end"], is "string"'),
        (after(keys={"note": "string", **BEFORE["events"]["keys"]}), "events: the payload: keys are added at the end"),
        (
            after(
                keys={
                    **{k: v for k, v in BEFORE["events"]["keys"].items() if k != "box.left_px"},
                    "box.left_px": "integer",
                }
            ),
            "events: box: keys are added at the end",
        ),
        (after(required=["id"]), "events: id was optional"),
    ],
)
def test_what_breaks_a_promise_is_named(now: dict[str, Any], told: str) -> None:
    assert any(fault.startswith(told) for fault in broken(BEFORE, now)), broken(BEFORE, now)


# The command


def test_the_command_shows_one_schema_all_of_them_or_the_asyncapi_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--channel", "health"]) == 0
    assert json.loads(capsys.readouterr().out) == schemas()["health"]
    assert main(["schema", "--asyncapi"]) == 0
    assert json.loads(capsys.readouterr().out) == asyncapi()
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schemas": schemas(), "asyncapi": asyncapi()}


def test_the_command_writes_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", str(tmp_path / "new")]) == 0
    named = capsys.readouterr().out.split()
    assert sorted(named) == sorted(str(path) for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert (tmp_path / "new" / "samples" / "status-online.txt").read_text() == "online\n"


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["schema", "--channel", "door"], 2, "no channel 'door'; there are status, info, camera-status"),
        (["schema", "--channel", "health", "--asyncapi"], 2, "one of --channel, --asyncapi and --out"),
        (["schema", "--out", "/proc/nowhere"], 69, "/proc/nowhere/status.json: cannot be written"),
    ],
)
def test_a_wrong_use_of_the_command_is_explained(
    argv: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == code
    err = capfd.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_the_daemon_loads_none_of_it() -> None:
    code = (
        "import sys, edge_fer.service, edge_fer.cli; print([m for m in sys.modules if m.startswith('edge_fer.schema')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_a_subscriber_can_open_either_envelope() -> None:
    made = samples()
    plain = json.loads(made["camera-events-update"])
    assert opened(plain) == opened(json.loads(made["cloudevents-camera-events-update"])) == plain
