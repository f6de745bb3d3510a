"""The command line. A command's modules are imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from edge_fer import __version__
from edge_fer.errors import EdgeFerError, UsageError
from edge_fer.privacy import hide_password

if TYPE_CHECKING:
    from edge_fer.classify import NetworkName
    from edge_fer.config import Config

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what was ended before its work was done, as shells have it; `run` and `demo` end with 0."""

NAMED_CAMERA = re.compile(r"^([a-z0-9-]{1,63})=(.+)$", re.DOTALL)

config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="TOML file; the other options overrule it."
)
camera_option = click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="[NAME=]URI",
    help="A device, clip, picture, folder or stream: /dev/video0, clip.mp4, 'file:clip.mp4?loop=1&realtime=1', "
    "images:FOLDER, sample:, rtsp://HOST/... May be given several times.",
)
broker_option = click.option(
    "--broker",
    metavar="URL",
    help="mqtt://USER@HOST:1883, or mqtts:// for TLS; the password comes from EDGE_FER_MQTT_PASSWORD.",
)
node_option = click.option("--node", metavar="ID", help="Name of this device in all topics; its host name by default.")
network_option = click.option(
    "--network", type=click.Choice(["nano_a", "nano_b"]), help="nano_b (faster, the default) or nano_a (more accurate)."
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Log more.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-fer")
def cli() -> None:
    """Facial expressions from camera streams to MQTT events.

    Exit codes: 0 done, 1 a check failed, 2 usage, 69 something needed is unavailable, 78 the configuration is wrong.
    """


@cli.command()
@config_option
@camera_option
@broker_option
@node_option
@network_option
@click.option("--print", "print_events", is_flag=True, help="Write every event to the standard output as a JSON line.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this time.")
@verbose_option
def run(
    config_file: Path | None,
    cameras: tuple[str, ...],
    broker: str | None,
    node: str | None,
    network: str | None,
    print_events: bool,  # noqa: FBT001 - click passes options by name
    seconds: float | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Watch cameras and publish expression events, until stopped or until all clips have ended."""
    _log_to_stderr(verbose=verbose)
    config = _config(config_file, cameras, broker, node, network)
    if config.broker is None and not print_events:
        raise UsageError("there is nowhere to publish to: give --broker URL, [broker] in the file, or --print")
    from edge_fer.publishers import EventPrinter
    from edge_fer.service import running, stop_on_signals

    with stop_on_signals() as stop:
        printers = [EventPrinter(sys.stdout, stop.set)] if print_events else []
        with running(config, printers) as daemon:
            daemon.run(stop, seconds)


@cli.command()
@camera_option
@broker_option
@node_option
@network_option
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this time.")
@verbose_option
def demo(
    cameras: tuple[str, ...],
    broker: str | None,
    node: str | None,
    network: str | None,
    seconds: float | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Show it working: the sample clip in a loop, a broker on loopback, a live view in the terminal."""
    from edge_fer.demo import show

    # On a broker of others, every board needs a name of its own.
    name = node or (None if broker else "demo")
    overrides = _overrides(cameras or ("sample=sample:?loop=1&realtime=1",), broker, name, network)
    show({**overrides, "telemetry_s": 2.0}, seconds=seconds, verbose=verbose)


@cli.command()
@click.option("--clip", metavar="FILE", help="A clip with faces; the sample clip by default.")
@network_option
@click.option("--baseline/--no-baseline", default=True, help="Measure the same network in TensorFlow, where it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@verbose_option
def bench(
    clip: str | None,
    network: str | None,
    baseline: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """Measure on this machine: CPU per frame by stage, memory, time to the first event, runtimes."""
    _log_to_stderr(verbose=verbose, quiet=not verbose)
    from edge_fer.bench import measure, show

    # However it is ended, the processes that it started are ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = measure(clip or "sample:", cast("NetworkName", network or "nano_b"), baseline=baseline)
    show(report, as_json=as_json)


@cli.command("check-config")
@click.argument("config_file", type=click.Path(path_type=Path))
def check_config(config_file: Path) -> None:
    """Check a configuration file without opening anything."""
    config = _config(config_file)
    click.echo(f"{config_file}: right; node {config.node}, cameras {', '.join(config.camera)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what a user can cause is told in one line, never in a traceback."""
    code = _run(argv)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads any more, or the disk is full: the interpreter would try again at exit, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        cli.main(args=list(argv) if argv is not None else None, prog_name="edge-fer", standalone_mode=False)
    except EdgeFerError as err:
        for line in hide_password(str(err)).splitlines():
            click.echo(f"edge-fer: {line}", err=True)
        return err.exit_code
    except click.ClickException as err:
        err.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # as in `edge-fer bench | head -1`: what was wanted was read
        return 0
    return 0


def _config(
    config_file: Path | None,
    cameras: tuple[str, ...] = (),
    broker: str | None = None,
    node: str | None = None,
    network: str | None = None,
) -> Config:
    if config_file is None and not cameras:
        raise UsageError("no camera: give --camera [NAME=]URI or --config FILE; try --camera sample:")
    from edge_fer.config import load_config

    return load_config(config_file, _overrides(cameras, broker, node, network))


def _overrides(cameras: tuple[str, ...], broker: str | None, node: str | None, network: str | None) -> dict[str, Any]:
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


def _log_to_stderr(*, verbose: bool, quiet: bool = False) -> None:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
