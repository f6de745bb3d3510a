"""The doctor looks at a node whose daemon runs: it finds it well, and the daemon notices nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from daemonsite import LOOP, NODE, Site, terminate

pytestmark = pytest.mark.system


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def test_a_running_daemon_is_found_well_and_left_alone(site: Site) -> None:
    site.configure({"front": LOOP, "hall": "http://127.0.0.1:1/x.mjpg"})
    daemon = site.start()
    site.wait_for_start()
    log, heard = site.log, len(site.heard.on(f"edge-fer/{NODE}/status"))
    done = site.command("doctor", "--json", "--config", str(site.config))
    found = {(entry["check"], entry["about"]): entry for entry in json.loads(done.stdout)}
    assert found["broker", ""]["result"] == "ok"
    assert found["camera", "hall"]["result"] == "failed"  # dialled only
    assert found["recording", ""]["found"].endswith("the running daemon records nothing")
    assert found["state-folder", ""]["result"] in ("ok", "warning")
    assert done.returncode == 1
    assert daemon.poll() is None
    new = [line for line in site.log.removeprefix(log).splitlines() if "hall" not in line]  # is tried again and again
    assert not [line for line in new if line.startswith(("WARNING", "ERROR"))], new
    assert len(site.heard.on(f"edge-fer/{NODE}/status")) == heard  # nobody said offline
    assert [topic for topic in {message.topic for message in site.heard.messages} if "doctor" in topic] == []
    assert terminate(daemon) == 0
