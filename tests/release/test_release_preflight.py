"""What keeps a bundle from a board, all of it, each with a cure; and where nothing does."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.release.preflight import not_root, problems

GB = 10**9
FACTS: dict[str, Any] = {
    "machine": "aarch64", "userland": "aarch64", "userland_bits": 64, "glibc": "2.27", "systemd": 237,
    "systemd_runs": True, "pythons": {"3.6": "/usr/bin/python3.6"}, "board_name": "NVIDIA Jetson Nano Developer Kit",
    "compatible": ["nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"], "disk": "/opt",
    "disk_free_bytes": 8 * GB, "memory_total_bytes": 4 * GB, "memory_available_bytes": 2 * GB,
    "unix_s": 1_767_700_000, "groups": ["video", "render"], "user": "root", "is_root": True,
}  # fmt: skip
MANIFEST: dict[str, Any] = {
    "machine": "aarch64", "glibc": "2.27", "python": "3.10", "python_source": "standalone", "board": "jetson-nano",
    "board_name": "NVIDIA Jetson Nano", "compatible": ["p3448"], "models": ["Jetson Nano"], "system": "jetpack-4",
    "unpacked_bytes": GB, "built_unix_s": 1_767_600_000,
}  # fmt: skip


def test_nothing() -> None:
    assert problems(FACTS, MANIFEST) == []
    assert not_root(FACTS) == []


@pytest.mark.parametrize(
    ("facts", "manifest", "told"),
    [
        ({"machine": "x86_64"}, {}, "the processor is x86_64, the bundle is for aarch64 (jetson-nano)"),
        ({"userland": "arm", "userland_bits": 32}, {}, "programs of this system are 32-bit (arm): install the 64-bit"),
        ({"glibc": "2.26"}, {}, "glibc is 2.26, the bundle needs 2.27 or newer (jetpack-4)"),
        ({"glibc": ""}, {}, "no glibc"),
        ({"systemd": 0}, {}, "there is no systemd"),
        ({"systemd": 229}, {}, "systemd is 229, 235 or newer is needed"),
        ({"systemd_runs": False}, {}, "does not run here"),
        ({}, {"python_source": "system"}, "Python 3.10 is missing, which jetpack-4 has (found: 3.6)"),
        ({"pythons": {}}, {"python_source": "system"}, "(found: none)"),
        ({"compatible": [], "board_name": ""}, {}, "this is a aarch64 without a device tree, the bundle is for NVIDIA"),
        ({"disk_free_bytes": 2 * GB}, {}, "2000 MB are free in /opt, 3000 MB are needed"),
        ({"memory_available_bytes": 10**8}, {}, "100 MB of 4000 MB memory are available, 300 MB are needed"),
        ({"unix_s": 1_517_097_600}, {}, "the clock says 2018-01-28, before this bundle was made (2026-01-05)"),
        ({"unix_s": 1_517_097_600}, {"built_unix_s": 0}, "before this bundle was made (2025-01-01)"),
        ({"unix_s": 5_000_000_000}, {}, "the clock says 2128-06-11, far in the future"),
        ({"groups": []}, {}, "there is no group video"),
    ],
)
def test_one(facts: dict[str, Any], manifest: dict[str, Any], told: str) -> None:
    found = problems({**FACTS, **facts}, {**MANIFEST, **manifest})
    assert len(found) == 1
    assert told in found[0]


def test_all_at_once() -> None:
    wrong = {
        "glibc": "2.17",
        "systemd": 229,
        "memory_available_bytes": 1,
        "disk_free_bytes": 1,
        "groups": [],
        "unix_s": 0,
    }
    assert len(problems({**FACTS, **wrong}, MANIFEST)) == 6


def test_boards_are_known_by_one_of_two_signs() -> None:
    assert problems({**FACTS, "board_name": "renamed"}, MANIFEST) == []
    assert problems({**FACTS, "compatible": []}, MANIFEST) == []
    assert len(problems({**FACTS, "compatible": ["brcm,bcm2712"], "board_name": "Raspberry Pi 5"}, MANIFEST)) == 1
    anywhere = {**FACTS, "compatible": [], "board_name": ""}
    assert problems(anywhere, MANIFEST, board_mismatch_ok=True) == []
    assert problems(anywhere, {**MANIFEST, "compatible": [], "models": []}) == []


def test_versions_are_numbers() -> None:
    assert problems({**FACTS, "glibc": "2.4"}, MANIFEST) != []
    assert problems({**FACTS, "glibc": "3.1"}, MANIFEST) == []
    assert problems({**FACTS, "glibc": "2.100"}, MANIFEST) == []


def test_a_release_that_is_there_needs_no_room() -> None:
    assert problems({**FACTS, "disk_free_bytes": 1000}, MANIFEST, unpacked=True) == []


def test_what_is_not_known_before_the_bundle_is_built() -> None:
    wanted = {key: value for key, value in MANIFEST.items() if key not in ("unpacked_bytes", "built_unix_s")}
    assert problems(FACTS, wanted) == []


def test_who_installs() -> None:
    assert not_root({**FACTS, "is_root": False, "user": "pi"}) == [
        "pi is not root: only root can install a service; use sudo"
    ]
