"""What must not load at start-up: a dashboard or a list of topics needs no network that reads faces."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIGHT = ("cv2", "numpy", "tflite_runtime", "ai_edge_litert")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("edge_fer.cli", (*SIGHT, "paho", "pydantic", "rich")),
        ("edge_fer.commands.watch", (*SIGHT, "paho", "pydantic", "rich")),
        ("edge_fer.dashboard.session", (*SIGHT, "pydantic", "rich")),
        ("edge_fer.events", (*SIGHT, "paho", "pydantic")),
        ("edge_fer.schema.documents", (*SIGHT, "paho")),
        ("edge_fer.mqtt.publisher", SIGHT),
    ],
)
def test_a_module_does_not_load_what_it_has_no_use_for(module: str, unwanted: tuple[str, ...]) -> None:
    check = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
