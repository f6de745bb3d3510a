from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_fer.privacy import hide_arguments

SHOW = """
import sys
from pathlib import Path
from edge_fer.privacy import hide_arguments
hide_arguments()
print(Path("/proc/self/cmdline").read_text(), *sys.argv, sep="\\n")
"""


def test_whoever_lists_processes_sees_no_password_and_the_process_still_has_it() -> None:
    words = ["plain", "front=rtsp://carer:hunter2@host/stream", "http://u:x@h", "/x?token=hunter2", "last"]
    done = subprocess.run([sys.executable, "-c", SHOW, *words], capture_output=True, text=True, check=True)
    cmdline, _, own = done.stdout.partition("\n-c\n")
    seen = [word.rstrip(" ") for word in cmdline.split("\0")]
    assert seen[-6:-1] == ["plain", "front=rtsp://carer:***@host/stream", "http://u:***", "/x?token=***", "last"]
    assert own.splitlines() == words


def test_where_the_system_does_not_allow_it_nothing_happens(tmp_path: Path) -> None:
    hide_arguments(tmp_path)
    (tmp_path / "stat").write_text("1 (python) S 1 2 3")
    hide_arguments(tmp_path)
    (tmp_path / "stat").write_text("1 (a) b) " + "0 " * 50)
    (tmp_path / "mem").write_bytes(b"untouched")
    hide_arguments(tmp_path)
    assert (tmp_path / "mem").read_bytes() == b"untouched"
