"""How `edge-fer watch` shows what it knows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from datetime import timezone
from typing import Any

import pytest
from fleet_story import (
    T0_NS,
    alert,
    busy_fleet,
    condition,
    event,
    governor,
    health,
    incoming,
    info,
    ns,
    power,
    problem,
    raw,
    sees,
    throughput,
    well,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.cli import main
from edge_fer.dashboard.fleet import Fleet
from edge_fer.dashboard.lines import ChangeLines
from edge_fer.dashboard.mailbox import Mailbox, Received
from edge_fer.dashboard.records import record
from edge_fer.dashboard.words import amount, span
from edge_fer.events import Privacy
from edge_fer.messages import Message, message
from edge_fer.mqtt.incoming import Incoming

pytest.importorskip("rich", reason="pip install 'edge-fer[watch]': the screen is NOT tested")

SIZES = [(80, 24), (200, 60), (40, 10), (20, 5), (120, 1000)]


def drawn(fleet: Fleet, width: int = 80, height: int = 24, *, connected: bool = True, colour: bool = False) -> str:
    from rich.console import Console

    from edge_fer.dashboard.screen import Screen

    colours = "truecolor" if colour else None
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=colour, color_system=colours)
    broker = "broker mqtt://carer@broker.lan:1883 connected (MQTT 5)"
    view = fleet.view(ns(9), 200)
    console.print(Screen(view, ns(9), broker=broker, connected=connected, zone=timezone.utc), end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fills_the_terminal_and_is_never_larger(width: int, height: int) -> None:
    from rich.cells import cell_len

    for fleet in (Fleet(), busy_fleet(), with_boards(busy_fleet(), 300)):
        lines = drawn(fleet, width, height).split("\n")
        assert len([line for line in lines if line or height > len(lines)]) <= height
        assert len(lines) - 1 == height
        assert max(cell_len(line) for line in lines) <= width


def with_boards(fleet: Fleet, count: int) -> Fleet:
    for number in range(count):
        for one in well(f"board-{number:03}"):
            fleet.take(one, T0_NS)
    return fleet


def test_all_that_matters_is_in_words() -> None:
    shown = drawn(busy_fleet(), 200, 60)
    for words in (
        "5 nodes: 4 online, 1 not online, 1 alert",
        "1 unreadable message",
        "ALERT living-room/crying  since 11:05:29 (1m 20s)",
        "Look after the child.",
        "● living-room  online (up 2h 03m)  0.1.0  Raspberry Pi 5 Model B",
        "37.4 fps  p95 38 ms  CPU 42 %  121 MiB  4.2 W  62 °C  slowed 2/5 (temperature)  outbox 0",
        "2 faces   sadness     ████████░░  83%   22.5 fps",
        "○ garage  OFFLINE for 3s, values are stale",
        "problem state-folder (since 10m 09s): /var/lib/edge-fer: read-only file system",
        "offline     rtsp://carer:***@10.0.0.7/stream: connection refused",
        "privacy pause: front, for 29m 51s more",
        "disabled    paused for privacy",
        "11:06:42  late  living-room/front  track 1  update  fear 91%",
    ):
        assert words in shown


def test_a_small_terminal_has_alerts_and_the_most_urgent_nodes() -> None:
    shown = drawn(with_boards(busy_fleet(), 300), 80, 24)
    assert shown.index("ALERT living-room/crying") < shown.index("● living-room") < shown.index("○ garage")
    assert "● kitchen  online (up 2h 03m)  problem state-folder, hall offline" in shown
    assert "60 %, alert from 60 %  Look after the child." in shown, "the reason, on lines of its own"
    assert "more nodes" in shown
    assert "last events" in shown


def test_more_alerts_than_fit_are_counted() -> None:
    fleet = Fleet()
    for number in range(40):
        for one in (*well(f"n{number:02}"), incoming(message(alert(), f"n{number:02}", "crying"))):
            fleet.take(one, T0_NS)
    shown = drawn(fleet, 80, 24)
    assert "+ 32 more alerts" in shown
    assert "n00" in shown


def test_without_a_connection_it_says_that_all_is_old() -> None:
    assert "ALL THIS IS OLD" in drawn(busy_fleet(), connected=False)
    assert "ALL THIS IS OLD" not in drawn(busy_fleet())
    assert "ALL THIS IS OLD" not in drawn(Fleet(), connected=False), "there is nothing yet"


def test_nodes_beyond_the_limit_are_told_with_the_cure() -> None:
    fleet = Fleet(nodes_max=1)
    for node in ("a", "b"):
        fleet.take(raw(f"{node}/status", "online"), T0_NS)
    assert "more than 1 node: name those to watch with --node" in drawn(fleet)


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "[bold red]not markup[/]",
    "a\nb\rc",
    "\u202e\u2066",
    "x" * 10_000,
    "\x9b31m",
    "笑" * 200,
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [80, 200])
def test_no_text_of_a_node_reaches_the_terminal_raw(text: str, width: int) -> None:
    fleet = Fleet()
    told: list[tuple[str, dict[str, Any]]] = [
        ("info", {"version": text, "board": text, "boot_id": text, "cameras": ["front", "side", text]}),
        ("camera/front/status", {"state": text, "reason": text}),
        ("camera/side/status", {"state": "online", "reason": text}),
        ("camera/side/state", {"expression": text, "faces": 1, "confidence": 0.5}),
        ("camera/front/events", {"type": text, "expression": text, "track": text}),
        ("alert/crying", {"state": "active", "why": text, "text": text}),
        ("alert/crying/events", {"state": text, "why": text}),
        ("health", {"problems": [{"code": text, "text": text}]}),
        ("privacy", {"paused": True, "cameras": [text]}),
        ("governor", {"level": 1, "levels": 5, "cause": text, "reason": text}),
    ]
    fleet.take(raw("lab/status", "online"), ns(1))
    for topic, body in told:
        fleet.take(raw(f"lab/{topic}", body), ns(1))
    plain = drawn(fleet, width, 60)
    assert not {char for char in plain if not char.isprintable()} - {"\n"}
    if "[bold red]" in text:
        assert "[bold red]not markup[/]" in plain
    coloured = drawn(fleet, width, 60, colour=True)
    assert "\x1b[2J" not in coloured
    assert "\x1b]" not in coloured
    assert "\x9b" not in coloured


def test_changes_as_lines() -> None:
    lines = ChangeLines(Fleet())

    def told(*messages: Incoming) -> list[str]:
        return [line[10:] for one in messages for line in lines.take(Received(T0_NS, one))]

    def tell(sent: Message) -> list[str]:
        return told(incoming(sent))

    why = alert().why
    assert told(raw("lab/status", "online", retained=True)) == ["lab  online"]
    assert tell(message(info(), "lab")) == ["lab  run boot-a, version 0.1.0, Raspberry Pi 5 Model B"]
    assert tell(message(condition("offline", "unplugged"), "lab", "hall")) == ["lab/hall  offline: unplugged"]
    assert tell(message(condition("online"), "lab", "hall")) == ["lab/hall  online"]
    assert tell(message(sees(1, "fear", 0.71), "lab", "hall")) == ["lab/hall  faces 1, fear 71%"]
    assert tell(message(throughput(hall=3.0), "lab")) == []
    assert tell(message(power(), "lab")) == []
    assert tell(message(governor(), "lab")) == []
    slowed = ["lab  slowed to level 2 of 5: 81.5 °C in cpu-thermal, limit 80 °C"]
    assert tell(message(governor(2), "lab")) == slowed
    assert tell(message(governor(2, idle_cameras=[]), "lab")) == [], "cameras without anybody are no news"
    assert tell(message(governor(), "lab")) == ["lab  not slowed"]
    assert tell(message(event(1), "lab", "front")) == ["lab/front  track 1  update  happiness 91%"]
    assert tell(message(alert(), "lab", "crying")) == [f"lab  ALERT crying: {why}  Look after the child."]
    assert tell(message(alert(), "lab", "crying")) == [], "nothing new"
    assert tell(message(alert(state="cleared"), "lab", "crying")) == ["lab  alert crying is over"]
    assert tell(message(health("boot-a", problem()), "lab")) == [
        "lab  problem state-folder: /var/lib/edge-fer: read-only file system"
    ]
    assert tell(message(health(), "lab")) == ["lab  problem state-folder is over"]
    pause = Privacy(paused=True, cameras=["hall"], until=None, by="command line", since="")
    assert tell(message(pause, "lab")) == ["lab  privacy pause: hall"]
    assert told(raw("lab/privacy", b"")) == ["lab  no privacy pause"]
    assert told(raw("lab/status", b"\x1b[2J")) == []
    assert told(raw("lab/status", "offline")) == ["lab  offline"]


def test_a_record_is_one_line_of_ascii() -> None:
    one = raw("lab/camera/hall/state", '{"expression": "\x7f\u009b\u202e笑", "n": [1.5, null]}', retained=True)
    line = record(Received(T0_NS + 12_000_000, one))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "received_at": "2026-11-18T11:06:40.012Z",
        "node": "lab",
        "topic": "camera/hall/state",
        "retained": True,
        "payload": {"expression": "\x7f\u009b\u202e笑", "n": [1.5, None]},
    }


@settings(deadline=None)
@given(st.text(), st.binary() | st.recursive(st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_whatever_comes_a_record_is_one_line_of_strict_json(topic: str, payload: bytes) -> None:
    line = record(Received(T0_NS, Incoming(topic, payload, retained=False)))
    assert line.isascii()
    assert line.isprintable()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(line, parse_constant=refuse).keys() == {"received_at", "node", "topic", "retained", "payload"}


@pytest.mark.parametrize("depth", [100, 900, 950, 980, 990, 1000, 5000, 20_000, 60_000])
def test_deep_payloads_are_a_record_too(depth: int) -> None:
    payload = b"[" * depth + b"]" * depth
    line = record(Received(T0_NS, Incoming("edge-fer/lab/x", payload, retained=False)))
    assert line.endswith(("]}", ']"}'))


def test_the_mailbox_drops_the_oldest_and_counts() -> None:
    mailbox = Mailbox(messages_max=3, bytes_max=10)
    for number in range(5):
        mailbox.put(Incoming(f"t/{number}", b"x", retained=False))
    assert [received.incoming.topic for received in mailbox.take(0)] == ["t/2", "t/3", "t/4"]
    mailbox.put(Incoming("small", b"12345678", retained=False))
    mailbox.put(Incoming("large", b"123", retained=False))
    assert [received.incoming.topic for received in mailbox.take(0)] == ["large"]
    assert mailbox.dropped == 3
    assert mailbox.take(0) == []


def test_the_mailbox_hands_out_in_portions_and_can_be_woken() -> None:
    mailbox = Mailbox()
    for number in range(5):
        mailbox.put(Incoming(f"t/{number}", b"", retained=False))
    assert [len(mailbox.take(60, at_most=2)) for _ in range(3)] == [2, 2, 1]
    threading.Timer(0.05, mailbox.wake).start()
    assert mailbox.take(600) == []


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--broker", "host"], 78, "no scheme"),
        (["--broker", "mqtt://a:secret@host"], 78, "--password-file"),
        (["--broker", "mqtt://host", "--ca-file", "ca.pem"], 78, "--ca-file: of no use"),
        (["--broker", "mqtts://host", "--ca-file", "missing.pem"], 78, "--ca-file: missing.pem cannot be read"),
        (["--broker", "mqtt://host", "--cert-file", "c.pem"], 78, "--cert-file: of no use"),
        (["--broker", "mqtts://host", "--cert-file", "missing.pem"], 78, "--cert-file: missing.pem"),
        (["--broker", "mqtts://host", "--key-file", "k.pem"], 78, "--key-file: of no use without --cert-file"),
        (["--broker", "mqtt://host", "--password-file", "missing"], 78, "--password-file: missing cannot be read"),
        (["--broker", "mqtt://host", "--node", "a/#"], 2, "lower case letters"),
        ([], 2, "--broker"),
    ],
)
def test_mistakes_are_told_in_one_line(
    options: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", *options]) == code
    err = capfd.readouterr().err
    assert told in err
    assert "secret" not in err
    assert "Traceback" not in err


def test_without_rich_a_screen_says_what_to_install() -> None:
    """In a process of its own, which finds all packages but this one."""
    check = (
        "import sys, importlib.machinery as machinery\n"
        "class Finder(machinery.PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name == 'rich' else super().find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(machinery.PathFinder)] = Finder\n"
        "from edge_fer.dashboard import session\n"
        "from edge_fer.login import BrokerAddress\n"
        "try: session.watch(BrokerAddress('127.0.0.1', 1), 'screen', seconds=0.1)\n"
        "except Exception as err: print(type(err).__name__, err)\n"
        "try: session.watch(BrokerAddress('127.0.0.1', 1), 'json', seconds=0.1)\n"
        "except Exception as err: print(type(err).__name__, err)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    screen, as_json = done.stdout.splitlines()
    assert screen.startswith("UnavailableError")
    assert "pip install 'edge-fer[watch]'" in screen
    assert as_json.startswith("UnavailableError broker mqtt://127.0.0.1:1 ")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.9, "59s"), (60, "1m 00s"), (7380, "2h 03m"), (90_000, "1d 01h"), (-5, "0s")],
)
def test_spans(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_amounts() -> None:
    assert [amount(0, "face"), amount(1, "face"), amount(2, "face")] == ["0 faces", "1 face", "2 faces"]
