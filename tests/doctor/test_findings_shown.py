"""The table that a technician reads, and the JSON that a program reads."""

from __future__ import annotations

import json

import click
import pytest

from edge_fer.doctor.finding import Finding
from edge_fer.doctor.show import as_json, closing, table

FINDINGS = [
    Finding("ok", "3.11.7 on aarch64", check="python"),
    Finding(
        "failed",
        "mqtts://cam@broker.local:8883 not reachable (Connection refused)",
        "does the broker run? check host and port of broker.url",
        check="broker",
    ),
    Finding("ok", "works", about="front", check="camera"),
    Finding("warning", "expires in 3 days", "renew it", "of the broker", "certificates"),
    Finding("skipped", "no configuration", check="metrics"),
    Finding("failed", "node.toml:\nnode: found 'X'\ncamera: missing", "correct the file", check="configuration"),
]

TABLE = """\
ok       python         3.11.7 on aarch64
ok       camera front   works

skipped  metrics        no configuration

warning  certificates   of the broker: expires in 3 days
                        -> renew it

failed   broker         mqtts://cam@broker.local:8883 not reachable (Connection
                        refused)
                        -> does the broker run? check host and port of
                           broker.url
failed   configuration  node.toml:
                        node: found 'X'
                        camera: missing
                        -> correct the file

2 failed (broker, configuration), 1 warning, 2 ok, 1 skipped."""


def test_what_is_wrong_stands_last_with_its_cure_below() -> None:
    assert click.unstyle(table(FINDINGS, 80)) == TABLE


@pytest.mark.parametrize("width", [20, 60, 80, 120, 400])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = click.unstyle(table(FINDINGS, width)).splitlines()
    assert max(map(len, lines[:-1])) <= min(max(width, 60), 140)  # the closing line is the terminal's to break


def test_many_that_were_skipped_for_one_reason_share_a_line() -> None:
    skipped = [Finding("skipped", "no configuration", check=check) for check in ("camera", "broker", "metrics")]
    others = [Finding("skipped", "not here", check="unit"), Finding("skipped", "no configuration", "", "x", "camera")]
    assert click.unstyle(table([*skipped, *others[:1]], 80)).splitlines()[:2] == [
        "skipped  (3 checks)  camera, broker, metrics: no configuration",
        "skipped  unit        not here",
    ]
    assert "camera x" in table([*skipped[:2], others[1]], 80)


def test_the_closing_line_says_how_it_stands() -> None:
    good = Finding("ok", "well", check="python")
    odd = Finding("warning", "hm", "do", check="clock")
    assert click.unstyle(closing([good])) == "All is well: 1 ok, 0 skipped."
    assert click.unstyle(closing([good, odd, odd])) == "It works, with 2 warnings; 1 ok, 0 skipped."


def test_the_json_is_a_list_in_the_order_of_the_checks() -> None:
    read = json.loads(as_json(FINDINGS))
    assert [entry["check"] for entry in read] == [finding.check for finding in FINDINGS]
    assert read[3] == {
        "check": "certificates",
        "about": "of the broker",
        "result": "warning",
        "found": "expires in 3 days",
        "cure": "renew it",
    }
