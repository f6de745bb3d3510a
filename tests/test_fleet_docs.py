"""docs/fleets.md reckons with what the daemon publishes now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAN = ROOT / "tests" / "system" / "fleet_plan.py"


def test_the_tables_are_those_of_the_script() -> None:
    command = [sys.executable, str(PLAN)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert told in (ROOT / "docs" / "fleets.md").read_text(), "run python tests/system/fleet_plan.py --write"


def test_twice_the_events_are_twice_the_bytes() -> None:
    command = [sys.executable, str(PLAN), "--boards", "1000", "--events-per-s", "0.4"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "| messages in | 0.670/s | 670/s |" in told
    assert "| retained messages | 11 | 11,000 |" in told
