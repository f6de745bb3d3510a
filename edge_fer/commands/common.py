"""Options that several commands share, and the configuration that they make."""

from __future__ import annotations

import logging
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_fer.errors import UsageError
from edge_fer.privacy import hide_password

if TYPE_CHECKING:
    from edge_fer.config import Config

NAMED_CAMERA = re.compile(r"^([a-z0-9-]{1,63})=(.+)$", re.DOTALL)


class Number(click.FloatRange):
    """A range of numbers; "nan" is none, though no comparison finds it outside."""

    def convert(  # click says what it takes in other words in each version
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Refuse what is no number of the range."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="TOML file; the other options overrule it."
)
camera_option = click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="[NAME=]URI",
    help="A device, clip, picture, folder or stream: /dev/video0, clip.mp4, 'file:clip.mp4?loop=1&realtime=1', "
    "images:FOLDER, csi:0, rpicam:0, exec:COMMAND, sample:, rtsp://HOST/... May be given several times.",
)
broker_option = click.option(
    "--broker",
    metavar="URL",
    help="mqtt://USER@HOST:1883, mqtts:// for TLS, ws:// or wss:// for WebSockets; the password comes from "
    "EDGE_FER_MQTT_PASSWORD.",
)
node_option = click.option(
    "--node", metavar="ID", help="Name of this device in all topics; by default its host name and 12 digits of its own."
)
network_option = click.option(
    "--network", type=click.Choice(["nano_a", "nano_b"]), help="nano_b (faster, the default) or nano_a (more accurate)."
)
seconds_option = click.option("--seconds", type=Number(min=0, min_open=True), help="End after this time.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Log more.")


def configuration(
    config_file: Path | None,
    cameras: tuple[str, ...] = (),
    broker: str | None = None,
    node: str | None = None,
    network: str | None = None,
) -> Config:
    """The file with the command line laid over it; UsageError where there is no camera at all."""
    if config_file is None and not cameras:
        raise UsageError("no camera: give --camera [NAME=]URI or --config FILE; try --camera sample:")
    from edge_fer.config import load_config

    return load_config(config_file, overrides(cameras, broker, node, network))


def checked_node(node: str) -> str:
    """The name of a node that no configuration has checked: it becomes the name of a folder. UsageError otherwise."""
    if not re.fullmatch(r"[a-z0-9-]{1,63}", node):
        raise UsageError(f"--node {node!r}: the name of a node is 1 to 63 lower case letters, digits, hyphens")
    return node


def overrides(cameras: tuple[str, ...], broker: str | None, node: str | None, network: str | None) -> dict[str, Any]:
    """The command line as tables of the configuration."""
    tables: dict[str, Any] = {}
    if cameras:
        tables["camera"] = {}
        for number, text in enumerate(cameras, start=1):
            named = NAMED_CAMERA.match(text)
            if not named and re.match(r"^[^/:?.]+=", text) and not Path(text).exists():
                raise UsageError(
                    f"--camera {hide_password(text)}: a camera's name is 1 to 63 lower case letters, digits, hyphens"
                )
            name, uri = (named[1], named[2]) if named else (f"camera{number}", text)
            if name in tables["camera"]:
                raise UsageError(f"--camera {hide_password(text)}: the name {name!r} is given twice")
            tables["camera"][name] = {"uri": uri}
    if broker is not None:
        tables["broker"] = {"url": broker}
    if node is not None:
        tables["node"] = node
    if network is not None:
        tables["model"] = {"network": network, "path": None}
    return tables


def log_to_stderr(*, verbose: bool, quiet: bool = False) -> None:
    """What is logged goes to the standard error, a line each."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
