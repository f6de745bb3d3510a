"""Node ids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_fer.identity import default_node

MACHINE_ID = "4c2f5d8e9a3b4f1f8e7d6c5b4a392817"


@pytest.fixture
def machine_id(tmp_path: Path) -> Path:
    file = tmp_path / "machine-id"
    file.write_text(f"{MACHINE_ID}\n")
    return file


def test_boards_of_one_image_differ_by_their_machine_id(machine_id: Path) -> None:
    first = default_node(machine_id, "kitchen-pi")
    assert first == default_node(machine_id, "kitchen-pi")
    assert re.fullmatch(r"kitchen-pi-[0-9a-f]{12}", first)
    machine_id.write_text("f" * 32)
    assert default_node(machine_id, "kitchen-pi") != first


def test_the_machine_id_is_never_shown(machine_id: Path) -> None:
    shown = default_node(machine_id, "pi").removeprefix("pi-")
    # HMAC-SHA256 with the id as key, as sd_id128_get_machine_app_specific(3): computed with openssl.
    assert shown == "8c21ac45e0f1"
    assert shown not in MACHINE_ID


@pytest.mark.parametrize("content", [None, "", "uninitialized\n", "0" * 32, "4c2f", "\u00e9" * 32])
def test_without_a_machine_id_the_host_s_name_must_do(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "machine-id"
    if content is not None:
        file.write_text(content)
    assert default_node(file, "Kitchen_Pi.local") == "kitchen-pi-local"
    assert default_node(file, "...") == "node"


@pytest.mark.parametrize("host", ["a" * 64, "k\u00fcche", "-x-", "", "a" * 49 + "-bc", "Living Room"])
def test_every_host_gives_what_may_stand_in_a_topic(machine_id: Path, host: str) -> None:
    for file in (machine_id, machine_id.with_name("none")):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", default_node(file, host))
