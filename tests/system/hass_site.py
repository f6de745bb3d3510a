"""A real Home Assistant with an empty folder of its own, connected to a broker on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from realbrokers import free_port, wait_until

HASS = os.environ.get("EDGE_FER_HASS") or shutil.which("hass")
START_S = 300
"""It compiles itself at its first start, and the machine may be slow."""

_CLIENT = "http://127.0.0.1/"


def require_hass() -> str:
    """The program `hass`."""
    if not HASS or not Path(HASS).exists():
        pytest.skip(
            "no Home Assistant: in an environment of Python 3.13, `pip install homeassistant==2025.4.4 "
            "home-assistant-frontend==20250411.0 paho-mqtt==2.1.0 hassil==2.2.3 home-assistant-intents==2025.3.28 "
            "Pillow==11.1.0 SQLAlchemy==2.0.39 fnv-hash-fast==1.4.0 psutil-home-assistant==0.0.1`, and set "
            "EDGE_FER_HASS=/that/environment/bin/hass: NOT tested against a real Home Assistant"
        )
    return HASS


@dataclass
class HomeAssistantSite:
    """A Home Assistant with one owner; the same folder and port at each start."""

    folder: Path
    broker_port: int
    automations: str = "[]"  # YAML
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    token: str = ""

    def start(self, timeout_s: float = START_S) -> HomeAssistantSite:
        program = require_hass()
        if not self.folder.exists():
            self._configure()
        with (self.folder / "out.log").open("ab") as out:
            command = [program, "--skip-pip", "--config", str(self.folder)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until(self._answers, timeout_s)
        if not self.token:
            self._log_in()
        wait_until(lambda: self.get("config")["state"] == "RUNNING", timeout_s)
        return self

    def stop(self) -> None:
        """In good order: it writes its registries."""
        if self.process:
            self.process.terminate()
            self.process.wait(120)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def log(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")

    def get(self, path: str) -> Any:
        """What the REST API answers below /api/."""
        return json.loads(self._ask(f"/api/{path}"))

    def states(self) -> dict[str, dict[str, Any]]:
        """Every entity of this project's, by its id."""
        return {one["entity_id"]: one for one in self.get("states") if "edge_fer_" in one["entity_id"]}

    def state(self, entity_id: str) -> str | None:
        """None where there is no such entity."""
        found = self.states().get(entity_id)
        return found["state"] if found else None

    def render(self, template: str) -> str:
        """What a template of Home Assistant gives: its registries are asked by these."""
        return self._ask("/api/template", json.dumps({"template": template}).encode()).decode()

    def registered(self) -> set[str]:
        """Ids in the registry of entities, also of those that nobody provides any more.

        By the title of the integration's entry, since by its domain Home Assistant lists only those that are provided.
        """
        return set(json.loads(self.render("{{ integration_entities('mosquitto') | list | to_json }}")))

    def call(self, domain: str, service: str, entity_id: str) -> None:
        self._ask(f"/api/services/{domain}/{service}", json.dumps({"entity_id": entity_id}).encode())

    def _configure(self) -> None:
        storage = self.folder / ".storage"
        storage.mkdir(parents=True)
        text = f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\nfrontend:\n"
        text += "automation: !include automations.yaml\n"
        (self.folder / "configuration.yaml").write_text(text)
        (self.folder / "automations.yaml").write_text(self.automations)
        now = "2026-01-01T00:00:00+00:00"
        entry = {
            "created_at": now, "modified_at": now, "entry_id": "mqtt", "domain": "mqtt", "title": "mosquitto",
            "version": 1, "minor_version": 2, "source": "user", "unique_id": None, "disabled_by": None,
            "pref_disable_new_entities": False, "pref_disable_polling": False, "discovery_keys": {}, "subentries": [],
            "data": {"broker": "127.0.0.1", "port": self.broker_port, "protocol": "5"},
            "options": {"discovery": True, "discovery_prefix": "homeassistant"},
        }  # fmt: skip
        stored = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
        (storage / "core.config_entries").write_text(json.dumps(stored))

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Home Assistant ended: {self.log[-2000:]}"
        time.sleep(0.5)
        try:
            self._ask("/api/onboarding")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _log_in(self) -> None:
        """Make the owner, as the first visitor of a new Home Assistant does."""
        owner = {"client_id": _CLIENT, "name": "Carer", "username": "carer", "password": "carer", "language": "en"}
        code = json.loads(self._ask("/api/onboarding/users", json.dumps(owner).encode()))["auth_code"]
        form = {"client_id": _CLIENT, "grant_type": "authorization_code", "code": code}
        self.token = json.loads(self._ask("/auth/token", urllib.parse.urlencode(form).encode()))["access_token"]

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        kind = "application/x-www-form-urlencoded" if path.startswith("/auth/") else "application/json"
        headers = {"Content-Type": kind, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bytes(answer.read())
