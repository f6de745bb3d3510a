"""How `edge-fer cameras` shows what is attached and what a probe has found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from edge_fer.capture.attached import AttachedCamera
from edge_fer.capture.probe import Probe
from edge_fer.capture.v4l2 import PixelFormat

NOTHING = """\
No camera is attached to this machine.
Network cameras are not listed; try one: edge-fer cameras --probe rtsp://user@host/path"""


def show_cameras(
    cameras: Sequence[AttachedCamera], probes: Mapping[str, Probe] | None = None, *, as_json: bool = False
) -> None:
    """Print the attached cameras, with what a probe of their address found."""
    probes = probes or {}
    if as_json:
        click.echo(json.dumps([_as_json(camera, probes.get(camera.address)) for camera in cameras], indent=2))
        return
    if not cameras:
        click.echo(NOTHING)
    for camera in cameras:
        click.echo("\n".join(camera_lines(camera, probes.get(camera.address))))


def show_probes(probes: Sequence[Probe], *, as_json: bool = False) -> None:
    """Print what was found at addresses."""
    if as_json:
        click.echo(json.dumps([asdict(found) for found in probes], indent=2))
        return
    for found in probes:
        click.echo(f"{found.address}\n    {probe_line(found)}")


def camera_lines(camera: AttachedCamera, found: Probe | None) -> list[str]:
    """A camera for people: address, name, sizes, and whether it works."""
    device = f" ({camera.device})" if camera.device else ""
    lines = [camera.address, f"    {camera.name}{device}"]
    lines += [f"    {format_line(form)}" for form in camera.formats if form.sizes]
    if camera.problem:
        lines.append(f"    NOT usable: {camera.problem}")
    if found is not None:
        lines.append(f"    {probe_line(found)}")
    return lines


def format_line(form: PixelFormat) -> str:
    """`MJPG  640x480 at 30 fps, 1920x1080 at 30 fps`: each size with its highest frame rate."""
    sizes = [f"{size.width}x{size.height}{_highest(size.fps)}" for size in form.sizes]
    return f"{form.fourcc}  {', '.join(sizes)}"


def probe_line(found: Probe) -> str:
    """What a probe found, in a line."""
    if found.problem:
        return f"NO pictures: {found.problem}"
    rate = f", {found.fps:g} pictures per second" if found.fps is not None else ""
    return f"works: {found.width}x{found.height}{rate}, the first after {found.first_picture_s:g} s"


def _highest(fps: Sequence[float]) -> str:
    return f" at {fps[0]:g} fps" if fps else ""


def _as_json(camera: AttachedCamera, found: Probe | None) -> dict[str, Any]:
    shown = asdict(camera)
    if found is not None:
        shown["probe"] = asdict(found)
    return shown
