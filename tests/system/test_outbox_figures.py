"""The command that measures the outbox works; its figures are for people, and are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from realbrokers import MOSQUITTO

pytestmark = pytest.mark.system


def test_the_outbox_can_be_measured(tmp_path: Path) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    script = Path(__file__).with_name("outbox_figures.py")
    command = [sys.executable, str(script), "--seconds", "5", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800)
    held_up, sustained, day = json.loads("[" + done.stdout.replace("}\n{", "},\n{") + "]")
    assert held_up["transactions_meanwhile"] == 0
    assert (sustained["dropped"], sustained["problem"]) == (0, "")
    assert day["reopened"]["events"] == day["arrived"] == 86_400
    assert (day["in_order"], day["not_marked"]) == (True, 0)
    assert day["reopened"]["disk_after_mb"] < day["disk_mb"] / 10
    assert list(tmp_path.iterdir()) == []
