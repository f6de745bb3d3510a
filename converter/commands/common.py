"""What several commands need."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import click

from edge_fer.errors import UnavailableError

FILE = click.Path(path_type=Path)
NETWORK = click.Choice(["nano_a", "nano_b"])


def need_tensorflow() -> None:
    """Before the first import of TensorFlow: is it there, and quiet, please."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not importlib.util.find_spec("tensorflow"):
        raise UnavailableError("TensorFlow is not installed; this command needs: pip install 'edge-fer[convert]'")


def need_folder(data: Path) -> None:
    """UnavailableError where the training data is not there."""
    if not data.is_dir():
        raise UnavailableError(f"{data}: no such folder; --data must hold ferplus_train.npz and ferplus_valid.npz")


def figures_line(metrics: dict[str, Any]) -> str:
    """The two main figures, for people."""
    return f"accuracy {metrics['accuracy']:.4f}, macro recall {metrics['macro_recall']:.4f} on {metrics['n']} images"
