"""`edge-fer power-mode`: which power modes this board has, and set one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_fer.commands.common import json_option, log_to_stderr
from edge_fer.errors import UsageError

if TYPE_CHECKING:
    from edge_fer.power_modes.mode import PowerMode
    from edge_fer.power_modes.modes import PowerModes
    from edge_fer.sensors.board import Board


@click.command("power-mode")
@click.argument("wanted", required=False, metavar="[MODE]")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    help="List what a copy of a board's files has, below this folder.",
)
@json_option
def power_mode(wanted: str | None, root: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """List the power modes of this board, or set MODE (a name, an id or a budget such as 15W) and leave it so.

    Setting needs root. Where there is no nvpmodel, the modes are caps of the CPU clock, which are no watt budgets.
    """
    log_to_stderr(verbose=False, quiet=True)
    from edge_fer.power_modes.apply import left_over
    from edge_fer.power_modes.modes import open_power_modes
    from edge_fer.power_modes.set import set_power_mode
    from edge_fer.sensors.board import read_board
    from edge_fer.sensors.machine import Machine, machine_below

    machine = Machine() if root == Machine().root else machine_below(root)
    board, modes = read_board(machine), open_power_modes(machine)
    if wanted is not None:
        if root != Path("/"):
            raise UsageError("--root shows a copy of a board's files; no mode can be set there")
        click.echo(f"power mode {set_power_mode(modes, wanted, board.key)} is set")
        return
    current = modes.current()
    if as_json:
        click.echo(_as_json(board, modes, current))
        return
    click.echo(_as_table(board, modes, current))
    if left := left_over(modes):
        click.echo(f"  {left}: sudo edge-fer power-mode MODE sets one that stays")


def _as_json(board: Board, modes: PowerModes, current: PowerMode | None) -> str:
    found = {
        "board": board.name,
        "kind": modes.kind,
        "why_none": modes.why_none,
        "current": current and dataclasses.asdict(current),
        "modes": [dataclasses.asdict(mode) for mode in modes.modes],
    }
    return json.dumps(found, indent=2)


def _as_table(board: Board, modes: PowerModes, current: PowerMode | None) -> str:
    lines = [f"{board.name}: {modes.why_none or 'power modes of nvpmodel, * is set'}"]
    if modes.modes:
        lines.append(f"  {'id':>3} {'name':<20} {'watts':>5} {'cores':>5} {'MHz':>7}")
    listed = modes.modes if current is None or current in modes.modes else (*modes.modes, current)
    for mode in listed:
        notes = [*(["default"] if mode.default else []), *(["needs a reboot"] if mode.needs_reboot else [])]
        lines.append(
            f"{'*' if mode == current else ' '} {_shown(mode.id):>3} {mode.name:<20} {_shown(mode.budget_w):>5} "
            f"{_shown(mode.cores):>5} {_shown(mode.cpu_max_mhz):>7}  {', '.join(notes)}".rstrip()
        )
    if modes.modes and current is None:
        lines.append("  which one is set cannot be told")
    return "\n".join(lines)


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:g}"
