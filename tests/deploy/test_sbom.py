"""The bill of materials: valid CycloneDX 1.5, whole, and the same for the same contents."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import COMMIT_S, tiny_wheel

from converter.assets import WHEELS as ASSET_WHEELS
from deploy.checkout import PROJECT
from deploy.python_tree import PythonTree
from deploy.sbom import Metadata, licences, read_metadata, sbom_bytes
from edge_fer.card import ModelCard
from edge_fer.errors import UnavailableError

MODELS = PROJECT / "edge_fer" / "models"
PYTHON = PythonTree("3.10.19", (), ())


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    return [
        tiny_wheel(tmp_path, "Zebra_Crossing", "2.0", "License-Expression: MIT OR Apache-2.0\n"),
        tiny_wheel(tmp_path, "apple", "1.5", "License: BSD\nClassifier: License :: OSI Approved :: BSD License\n"),
        tiny_wheel(tmp_path, "plain"),
    ]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tiny_wheel(tmp_path, "edge_fer", "0.1.0", "License-Expression: Apache-2.0\n")


def bill(own: Path, wheels: list[Path], python: PythonTree | None = PYTHON, **other: Any) -> bytes:
    return sbom_bytes(own, wheels, python, MODELS, time_s=COMMIT_S, target=other.get("target", "board-system"))


def parts(content: bytes) -> dict[str, dict[str, Any]]:
    return {part["bom-ref"]: part for part in json.loads(content)["components"]}


def test_the_schema_of_cyclonedx_accepts_it(own: Path, wheels: list[Path]) -> None:
    reason = "validates against the schema that it ships: pip install 'cyclonedx-python-lib[json-validation]'"
    validation = pytest.importorskip("cyclonedx.validation.json", reason=reason)
    schema = pytest.importorskip("cyclonedx.schema", reason=reason)
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_5)
    for python in (PYTHON, None):
        assert validator.validate_str(bill(own, wheels, python).decode()) is None
    broken = bill(own, wheels).decode().replace('"type": "library"', '"type": "libary"')
    assert validator.validate_str(broken) is not None, "the validator finds what is wrong"


def test_it_is_the_same_for_the_same_contents(own: Path, wheels: list[Path]) -> None:
    content = bill(own, wheels)
    assert content == bill(own, wheels[::-1])
    told = json.loads(content)
    assert content == (json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
    assert (told["bomFormat"], told["specVersion"], told["version"]) == ("CycloneDX", "1.5", 1)
    assert told["metadata"]["timestamp"] == "2026-05-28T20:26:40Z"


def test_another_content_has_another_serial_number(own: Path, wheels: list[Path]) -> None:
    contents = [bill(own, wheels), bill(own, wheels[1:]), bill(own, wheels, None), bill(own, wheels, target="other")]
    serials = {json.loads(content)["serialNumber"] for content in contents}
    assert len(serials) == 4
    assert all(re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", serial) for serial in serials)


def test_each_wheel_is_named_with_its_hash_and_licence(own: Path, wheels: list[Path]) -> None:
    content = bill(own, wheels)
    found = parts(content)
    for wheel, purl in zip(
        wheels, ("pkg:pypi/zebra-crossing@2.0", "pkg:pypi/apple@1.5", "pkg:pypi/plain@1.0"), strict=True
    ):
        assert found[purl]["purl"] == purl
        assert found[purl]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    assert found["pkg:pypi/zebra-crossing@2.0"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert "licenses" not in found["pkg:pypi/plain@1.0"]
    main = json.loads(content)["metadata"]["component"]
    assert (main["type"], main["purl"]) == ("application", "pkg:pypi/edge-fer@0.1.0")
    (dependencies,) = json.loads(content)["dependencies"]
    assert dependencies == {"ref": main["bom-ref"], "dependsOn": sorted(found)}


def test_the_interpreter_is_named_where_it_is_inside(own: Path, wheels: list[Path]) -> None:
    python = parts(bill(own, wheels))["pkg:generic/cpython@3.10.19"]
    assert python["version"] == "3.10.19"
    assert python["cpe"] == "cpe:2.3:a:python:python:3.10.19:*:*:*:*:*:*:*"
    assert not [ref for ref in parts(bill(own, wheels, None)) if "cpython" in ref]


def test_each_model_is_named_with_its_hash_and_card(own: Path, wheels: list[Path]) -> None:
    found = parts(bill(own, wheels))
    cards = sorted(MODELS.glob("*.json"))
    assert len(cards) >= 4
    for path in cards:
        card = ModelCard.model_validate_json(path.read_bytes())
        part = found[f"model:{path.stem}.tflite"]
        assert part["type"] == "machine-learning-model"
        assert part["hashes"][0]["content"] == card.sha256
        assert part["modelCard"]["considerations"]["technicalLimitations"] == [card.limits]
        properties = {each["name"]: each["value"] for each in part["properties"]}
        assert properties["edge-fer:card-sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for wheel in ASSET_WHEELS:
        for member in wheel.members:
            kind = "model" if member.target.endswith(".tflite") else "file"
            part = found[f"{kind}:{Path(member.target).name}"]
            assert part["hashes"][0]["content"] == member.sha256
            assert part["properties"][1]["value"] == f"pkg:pypi/{wheel.project}@{wheel.version}"


@pytest.mark.parametrize(
    ("expression", "licence", "classifiers", "told"),
    [
        ("MIT", "ignored", (), [{"expression": "MIT"}]),
        ("", "BSD 3-Clause License", ("License :: OSI Approved :: BSD License",), ["BSD 3-Clause License"]),
        ("", "UNKNOWN", ("License :: OSI Approved :: BSD License",), ["BSD License"]),
        (
            "",
            "Copyright (c)\nmany lines",
            ("License :: OSI Approved", "License :: OSI Approved :: MIT License"),
            ["MIT License"],
        ),
        ("", "x" * 101, ("Topic :: Software",), []),
        ("", "", (), []),
    ],
)
def test_licences(expression: str, licence: str, classifiers: tuple[str, ...], told: list[Any]) -> None:
    expected = [{"license": {"name": each}} if isinstance(each, str) else each for each in told]
    assert licences(Metadata("a", "1", expression, licence, classifiers)) == expected


def test_what_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no wheel")
    (tmp_path / "folder.whl").mkdir()
    for name in ("text.whl", "folder.whl", "missing.whl"):
        with pytest.raises(UnavailableError, match=f"{name}: not a wheel"):
            read_metadata(tmp_path / name)
