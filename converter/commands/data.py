"""`data`."""

from __future__ import annotations

from pathlib import Path

import click

from converter.commands.common import FILE
from converter.rebuild import PUBLISHED_SHA256, Rebuilt, rebuild


@click.command()
@click.option("--fer2013", type=FILE, required=True, help="fer2013.csv or icml_face_data.csv of the FER2013 contest.")
@click.option("--ferplus", type=FILE, required=True, help="fer2013new.csv of FER+.")
@click.option("--out", type=FILE, required=True, help="Folder for ferplus_train.npz and ferplus_valid.npz.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def data(*, fer2013: Path, ferplus: Path, out: Path, force: bool) -> None:
    """Rebuild the training and validation sets from the published files; the test split is never written."""
    for rebuilt in rebuild(fer2013, ferplus, out, force=force):
        click.echo(_line(rebuilt))


def _line(rebuilt: Rebuilt) -> str:
    same = "as the shipped networks were trained on" if rebuilt.as_published else _differs(rebuilt)
    return (
        f"{rebuilt.path}: {rebuilt.kept} images, {same}; dropped: {rebuilt.duplicates} identical to an image that is "
        f"judged on, {rebuilt.without_image} without an image in FER+"
    )


def _differs(rebuilt: Rebuilt) -> str:
    name = rebuilt.path.stem.removeprefix("ferplus_")
    return (
        f"NOT those that the shipped networks were trained on (sha256 {rebuilt.sha256[:12]}..., "
        f"theirs {PUBLISHED_SHA256[name][:12]}...)"
    )
