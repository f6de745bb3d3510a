"""`edge-fer cameras`: what is attached, and whether an address works."""

from __future__ import annotations

import click

from edge_fer.commands.common import Number, json_option, log_to_stderr, verbose_option


@click.command()
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--probe", "probing", is_flag=True, help="Open each camera for a second, and tell size and frame rate.")
@click.option("--timeout", "timeout_s", default=15.0, type=Number(0.1, 600), help="Seconds to a first picture.")
@json_option
@verbose_option
def cameras(
    addresses: tuple[str, ...],
    probing: bool,  # noqa: FBT001 - click passes options by name
    timeout_s: float,
    as_json: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """List the attached cameras under names that stay, or try the addresses that are given.

    Ends with 1 where a camera that was tried gives no pictures.
    """
    log_to_stderr(verbose=verbose, quiet=not verbose)
    from edge_fer.capture.attached import list_cameras
    from edge_fer.capture.listing import show_cameras, show_probes
    from edge_fer.capture.probe import probe
    from edge_fer.capture.uri import parse_camera_uri

    if addresses:
        found = [probe(uri, timeout_s) for uri in [parse_camera_uri(address) for address in addresses]]
        show_probes(found, as_json=as_json)
    else:
        attached = list_cameras()
        tried = {camera.address: probe(parse_camera_uri(camera.address), timeout_s) for camera in attached if probing}
        show_cameras(attached, tried, as_json=as_json)
        found = list(tried.values())
    if any(one.problem for one in found):
        raise click.exceptions.Exit(1)
