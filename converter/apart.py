"""Parts of the work in a process of their own: TensorFlow's symbols break tflite-runtime within one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_fer.errors import ModelError

CHECKOUT = Path(__file__).parents[1]


def run_apart(module: str, *arguments: str, failed: str) -> None:
    """`python -m module arguments...`; ModelError says what `failed`, with the child's last line."""
    command = [sys.executable, "-m", module, *arguments]
    child = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{failed} (exit code {child.returncode}: {last})")
