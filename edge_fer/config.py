"""The configuration: one TOML file, or the same from the command line. The models here are the manual of its keys."""

from __future__ import annotations

import difflib
import hashlib
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator, model_validator

from edge_fer.capture.uri import parse_camera_uri
from edge_fer.classify import NetworkName, Prior, check_prior
from edge_fer.decide import DecideSettings
from edge_fer.detect import DetectorName
from edge_fer.errors import ConfigError
from edge_fer.login import parse_broker_url, tls_context
from edge_fer.privacy import hide_password
from edge_fer.tflite import PrecisionChoice, RuntimeChoice
from edge_fer.toml import Settings, read_toml

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}$")]
"""A part of a topic: lower case letters, digits and hyphens."""


class CameraSettings(Settings):
    """`[camera.NAME]`: one camera."""

    uri: str = Field(min_length=1)
    """A device, a clip, `images:FOLDER`, `sample:` or a stream's URL."""

    @field_validator("uri")
    @classmethod
    def _makes_sense(cls, uri: str) -> str:
        parse_camera_uri(uri)
        return uri


class BrokerSettings(Settings):
    """`[broker]`: where events go."""

    url: str
    """mqtt://user@host:1883, or mqtts:// for TLS. The password stands in password_file or EDGE_FER_MQTT_PASSWORD."""

    password_file: Annotated[Path, Field(strict=False)] | None = None
    ca_file: Annotated[Path, Field(strict=False)] | None = None
    """Certificate authority of the broker; the system's own without it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> BrokerSettings:
        tls_context(parse_broker_url(self.url), self.ca_file)
        return self


class ModelSettings(Settings):
    """`[model]`: the network that reads expressions."""

    network: NetworkName = "nano_b"
    precision: PrecisionChoice = "auto"
    """auto: what XNNPACK runs fastest on the runtime."""

    runtime: RuntimeChoice = "auto"
    threads: int = Field(default=1, ge=1, le=64)
    prior: Prior = "default"
    """How common each expression is expected to be: an operating point of the model's card, or a share of each."""

    path: Annotated[Path, Field(strict=False)] | None = None
    """A model of your own, with its card beside it, instead of a shipped network."""

    @field_validator("prior", mode="before")
    @classmethod
    def _is_a_prior(cls, prior: object) -> Prior:
        return check_prior(prior)


class DetectorSettings(Settings):
    """`[detector]`: how faces are found."""

    model: DetectorName = "full"
    """Smallest face, as a share of the frame's longer side: short 15 %, full 7 %, back 5 %. back needs most work and
    takes most things for faces."""

    min_score: float = Field(default=0.6, gt=0, lt=1)
    every_frames: int = Field(default=3, ge=1, le=1000)
    """In between, tracks move on as they moved."""

    lost_after_ms: int = Field(default=1000, ge=0, le=3_600_000)
    """A face that is not found for this long has left."""


class Config(Settings):
    """The whole file."""

    node: Id
    """Name of this device in every topic: edge-fer/<node>/..."""

    camera: dict[Id, CameraSettings] = Field(min_length=1)
    broker: BrokerSettings | None = None
    model: ModelSettings = ModelSettings()
    detector: DetectorSettings = DetectorSettings()
    decide: DecideSettings = DecideSettings()
    telemetry_s: float = Field(default=10.0, ge=0.5, le=3600)
    """Period of the throughput telemetry."""

    @property
    def sha256(self) -> str:
        """Tells whether two nodes run the same configuration; holds no password that could be guessed from it."""
        return hashlib.sha256(hide_password(self.model_dump_json()).encode()).hexdigest()


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> Config:
    """The file, if any, with the tables of the command line laid over it.

    ConfigError lists everything that is wrong, each line with file and key.
    """
    tables = read_toml(path) if path else {}
    for key, value in overrides.items():
        # Another broker gets neither the password nor the authority of the one in the file.
        if key != "broker" and isinstance(value, Mapping) and isinstance(tables.get(key), dict):
            tables[key] = {**tables[key], **value}
        else:
            tables[key] = value
    tables.setdefault("node", default_node())
    try:
        return Config.model_validate(tables)
    except ValidationError as err:
        where = str(path) if path else "command line"
        raise ConfigError("\n".join(f"{where}: {_explain(error)}" for error in err.errors())) from err


def default_node() -> str:
    """The host's name, as far as it may stand in a topic."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:63] or "node"


def _explain(error: Mapping[str, Any]) -> str:
    """One pydantic error as `key: what was found, what would be right`."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(part for part in location if part != "[key]")
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":  # of our own validators: the message says it all
        return f"{key}: {error['ctx']['error']}"
    found = hide_password(repr(error["input"]))
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: found {found}; use 1 to 63 lower case letters, digits and hyphens"
    return f"{key}: found {found}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _known_keys(tables: list[str]) -> list[str]:
    """Keys that the table at this place may have."""
    places: dict[str, type[BaseModel]] = {
        "camera": CameraSettings,
        "broker": BrokerSettings,
        "model": ModelSettings,
        "detector": DetectorSettings,
        "decide": DecideSettings,
    }
    return sorted((places[tables[0]] if tables else Config).model_fields)
