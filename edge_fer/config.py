"""The configuration: one TOML file, or the same from the command line. The models here are the manual of its keys."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator, model_validator

from edge_fer.capture.uri import parse_camera_uri
from edge_fer.capture.watch import WatchSettings
from edge_fer.classify import NetworkName, Prior, check_prior
from edge_fer.decide import DecideSettings
from edge_fer.envelope import EnvelopeKind
from edge_fer.errors import ConfigError
from edge_fer.governor.settings import GovernorSettings
from edge_fer.health.selftest import SELF_TEST_CAMERA, SelfTestSettings
from edge_fer.homeassistant.settings import HomeAssistantSettings
from edge_fer.identity import default_node
from edge_fer.login import TlsFiles, parse_broker_url, tls_context
from edge_fer.metrics.settings import MetricsSettings
from edge_fer.outbox.settings import OutboxSettings
from edge_fer.privacy import hide_password
from edge_fer.quality import QualitySettings
from edge_fer.remote.settings import CommandSettings
from edge_fer.rules.settings import RuleTable, check_cameras, explain_rule
from edge_fer.sensors.settings import PowerSettings
from edge_fer.tflite import PrecisionChoice, RuntimeChoice
from edge_fer.toml import Settings, read_toml
from edge_fer.tracking.search import DetectorSettings

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}$")]
"""A part of a topic: lower case letters, digits and hyphens."""

MOST_THREADS = 64
"""Of one network."""


class CameraSettings(WatchSettings):
    """`[camera.NAME]`: one camera, and how it is watched."""

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
    """mqtt://user@host:1883, mqtts:// for TLS, or ws:// and wss://user@host:port/path for WebSockets; no password."""

    user_file: Annotated[Path, Field(strict=False)] | None = None
    """Holds the user name, where the URL has none; $CREDENTIALS_DIRECTORY/mqtt-user goes first."""

    password_file: Annotated[Path, Field(strict=False)] | None = None
    """Read at each connect. EDGE_FER_MQTT_PASSWORD and $CREDENTIALS_DIRECTORY/mqtt-password go first."""

    ca_file: Annotated[Path, Field(strict=False)] | None = None
    """Certificate authority of the broker; the system's own without it."""

    cert_file: Annotated[Path, Field(strict=False)] | None = None
    """Certificate of this node, for a broker that wants one; PEM."""

    key_file: Annotated[Path, Field(strict=False)] | None = None
    """Its private key, not encrypted; in cert_file without it."""

    envelope: EnvelopeKind = "plain"
    """cloudevents: events go out in a CloudEvents envelope; states and telemetry stay as they are."""

    keepalive_s: int = Field(default=30, ge=5, le=600)
    """The broker tells that this node is gone after one and a half times this long."""

    @property
    def tls_files(self) -> TlsFiles:
        """The files about TLS."""
        return TlsFiles(self.ca_file, self.cert_file, self.key_file)

    @model_validator(mode="after")
    def _makes_sense(self) -> BrokerSettings:
        address = parse_broker_url(self.url)
        tls_context(address, self.tls_files)
        if address.user and self.user_file:
            raise ConfigError(f"broker.user_file: {address} names a user already; one of them is right")
        return self


class ModelSettings(Settings):
    """`[model]`: the network that reads expressions."""

    network: NetworkName = "nano_b"
    precision: PrecisionChoice = "auto"
    """auto: what `edge-fer tune` found best on this board; without it, what XNNPACK runs fastest on the runtime."""

    runtime: RuntimeChoice = "auto"
    """auto: what `edge-fer tune` found best on this board; LiteRT without it, or what is installed."""

    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | Literal["auto"] = "auto"
    """auto: what `edge-fer tune` found best on this board; 1 without it."""

    max_faces_per_frame: int = Field(default=10, ge=1, le=1000)
    """More faces are read by turns, so that a crowd does not keep other cameras waiting."""

    prior: Prior = "default"
    """How common each expression is expected to be: an operating point of the model's card, or a share of each."""

    path: Annotated[Path, Field(strict=False)] | None = None
    """A model of your own, with its card beside it, instead of a shipped network."""

    @field_validator("threads", mode="before")
    @classmethod
    def _is_a_number(cls, threads: object) -> object:
        """One error of a union's members would be two that nobody understands."""
        is_number = isinstance(threads, int) and not isinstance(threads, bool) and 1 <= threads <= MOST_THREADS
        if not is_number and threads != "auto":
            raise ValueError(f'found {threads!r}; give a number from 1 to {MOST_THREADS}, or "auto"')
        return threads

    @field_validator("prior", mode="before")
    @classmethod
    def _is_a_prior(cls, prior: object) -> Prior:
        return check_prior(prior)


class Config(Settings):
    """The whole file."""

    node: Id
    """Name of this device in every topic: edge-fer/<node>/..."""

    camera: dict[Id, CameraSettings] = Field(min_length=1)
    broker: BrokerSettings | None = None
    outbox: OutboxSettings = OutboxSettings()
    model: ModelSettings = ModelSettings()
    detector: DetectorSettings = DetectorSettings()
    quality: QualitySettings = QualitySettings()
    decide: DecideSettings = DecideSettings()
    rule: dict[Id, RuleTable] = Field(default={})
    """Alerts; without any, none is raised."""

    self_test: SelfTestSettings = SelfTestSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    metrics: MetricsSettings = MetricsSettings()
    """Metrics for Prometheus; off without a port."""

    commands: CommandSettings = CommandSettings()
    power: PowerSettings = PowerSettings()
    governor: GovernorSettings = GovernorSettings()
    state_dir: Annotated[Path, Field(strict=False)] | None = None
    """What a restart must not forget; by default what systemd gives, else ~/.local/state/edge-fer/<node>."""

    telemetry_s: float = Field(default=10.0, ge=0.5, le=3600)
    """Period of the throughput telemetry."""

    @model_validator(mode="after")
    def _names_fit(self) -> Config:
        if SELF_TEST_CAMERA in self.camera:
            raise ValueError(f"camera.{SELF_TEST_CAMERA}: this name is kept for the self-test; give it another")
        check_cameras(self.rule, self.camera)
        return self

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
        raise ConfigError("\n".join(f"{where}: {explain_error(error)}" for error in err.errors())) from err


def explain_error(error: Mapping[str, Any]) -> str:
    """One pydantic error as `key: what was found, what would be right`."""
    if about_rule := explain_rule(error):
        return about_rule
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
        return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    found = hide_password(repr(error["input"]))
    if error["type"] == "string_pattern_mismatch":
        right = "1 to 63 lower case letters, digits and hyphens"
        if key == "homeassistant.prefix":
            right = "letters, digits, _ and -, in parts divided by /"
        return f"{key}: found {found}; use {right}"
    return f"{key}: found {found}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _known_keys(tables: list[str]) -> list[str]:
    """Keys that the table at this place may have."""
    places: dict[str, type[BaseModel]] = {
        "camera": CameraSettings,
        "broker": BrokerSettings,
        "outbox": OutboxSettings,
        "model": ModelSettings,
        "detector": DetectorSettings,
        "quality": QualitySettings,
        "decide": DecideSettings,
        "self_test": SelfTestSettings,
        "homeassistant": HomeAssistantSettings,
        "metrics": MetricsSettings,
        "commands": CommandSettings,
        "power": PowerSettings,
        "governor": GovernorSettings,
    }
    return sorted((places[tables[0]] if tables else Config).model_fields)
