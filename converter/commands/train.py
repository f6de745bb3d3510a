"""`train`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from converter.commands.common import FILE, need_folder, need_tensorflow


@click.command()
@click.option("--recipe", type=FILE, required=True, help="TOML file: network, epochs, augmentation, ...")
@click.option("--data", type=FILE, required=True, help="Folder with ferplus_train.npz and ferplus_valid.npz.")
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Folder for trained.keras, its record, history.csv and what it goes on from.",
)
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: all cores.")
def train(recipe: Path, data: Path, out: Path, threads: int) -> None:
    """Train by a recipe; goes on after the last whole epoch in --out."""
    from converter.recipe import read_recipe

    settings = read_recipe(recipe)
    need_tensorflow()
    from converter.checkpoint import Folder
    from converter.data import TRAIN_FILE, VALID_FILE
    from converter.train import train as run

    need_folder(data)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    checkpoint = run(settings, recipe.parent, data / TRAIN_FILE, data / VALID_FILE, out, threads)
    last = Folder(out).read_history(settings)[-1]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in last.items())
    click.echo(f"{checkpoint}: {settings.epochs} epochs, {figures}")
