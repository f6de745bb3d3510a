"""What `edge-fer watch` knows of nodes."""

from __future__ import annotations

import json

import pytest
from fleet_story import (
    T0_NS,
    alert,
    at,
    condition,
    event,
    governor,
    health,
    incoming,
    info,
    nothing_told,
    ns,
    power,
    problem,
    raw,
    sees,
    well,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.channels import CHANNELS
from edge_fer.dashboard.fleet import Fleet
from edge_fer.dashboard.node import PARTS_MAX, SILENT_S
from edge_fer.dashboard.payload import harmless, unix_ns
from edge_fer.dashboard.views import GovernorView, NodeView
from edge_fer.events import Privacy
from edge_fer.messages import Message, alert_history, message
from edge_fer.mqtt.incoming import Incoming


@pytest.fixture
def fleet() -> Fleet:
    """With one node that is well."""
    fleet = Fleet()
    take(fleet, *well("lab"))
    return fleet


def take(fleet: Fleet, *messages: Incoming, seconds: float = 0) -> None:
    for one in messages:
        fleet.take(one, ns(seconds))


def tell(fleet: Fleet, *sent: Message, seconds: float = 0, retained: bool = False) -> None:
    take(fleet, *(incoming(one, retained=retained) for one in sent), seconds=seconds)


def lab(fleet: Fleet, seconds: float = 0) -> NodeView:
    view = fleet.node("lab", ns(seconds))
    assert view is not None
    return view


def unreadable(fleet: Fleet) -> int:
    return fleet.view(T0_NS).unreadable


def test_a_node_that_is_well(fleet: Fleet) -> None:
    view = lab(fleet, 20)
    assert (view.status, view.stale, view.version, view.uptime_s) == ("online", False, "0.1.0", 7400)
    assert (view.latency_p95_ms, view.cpu_percent, view.rss_bytes) == (38.1, 41.7, 127_225_856)
    front, hall = view.cameras
    assert (front.name, front.state, front.faces, front.expression, front.fps) == (
        "front", "online", 1, "happiness", 22.5
    )  # fmt: skip
    assert (hall.name, hall.faces, hall.expression, hall.stale) == ("hall", 0, "none", False)
    assert unreadable(fleet) == 0


def test_a_node_that_goes_is_stale_and_comes_back(fleet: Fleet) -> None:
    take(fleet, raw("lab/status", "offline"), seconds=30)
    view = lab(fleet, 40)
    assert (view.status, view.stale, view.since_ns, view.uptime_s) == ("offline", True, ns(30), None)
    take(fleet, raw("lab/status", "online"), seconds=50)
    assert not lab(fleet, 51).stale


def test_since_when_is_not_known_of_what_was_retained(fleet: Fleet) -> None:
    assert lab(fleet).since_ns is None


def test_an_alert_of_an_earlier_run_may_be_over(fleet: Fleet) -> None:
    tell(fleet, message(alert(boot_id="boot-a"), "lab", "crying"), retained=True)
    assert [one.stale for one in lab(fleet).alerts] == [False]
    tell(fleet, message(info("boot-b"), "lab"))
    assert [one.stale for one in lab(fleet).alerts] == [True]
    tell(fleet, message(alert(boot_id="boot-b"), "lab", "crying"))
    assert [one.stale for one in lab(fleet).alerts] == [False]


def test_an_alert_of_a_node_that_is_offline_may_be_over(fleet: Fleet) -> None:
    tell(fleet, message(alert(), "lab", "crying"))
    take(fleet, raw("lab/status", "offline"))
    assert [one.stale for one in lab(fleet).alerts] == [True]


def test_what_a_camera_saw_before_a_restart_is_stale(fleet: Fleet) -> None:
    tell(fleet, message(info("boot-b"), "lab"), seconds=600)
    tell(fleet, message(condition("online"), "lab", "front"), seconds=601)
    assert [(camera.name, camera.stale) for camera in lab(fleet, 602).cameras] == [("front", False), ("hall", True)]


def test_states_that_come_before_the_info_of_their_run_are_not_stale(fleet: Fleet) -> None:
    tell(fleet, message(condition("online"), "lab", "front"), seconds=599)
    tell(fleet, message(info("boot-b"), "lab"), seconds=600)
    assert not lab(fleet, 601).cameras[0].stale


def test_problems_of_an_earlier_run_are_not_shown(fleet: Fleet) -> None:
    tell(fleet, message(health("boot-a", problem()), "lab"), retained=True)
    assert [one.code for one in lab(fleet).problems] == ["state-folder"]
    tell(fleet, message(info("boot-b"), "lab"))
    assert lab(fleet).problems == ()


def test_a_last_will_of_an_earlier_run_says_neither_online_nor_offline(fleet: Fleet) -> None:
    take(fleet, raw("lab/status", "offline", boot_id="boot-of-before"))
    assert lab(fleet).status == "unknown"
    take(fleet, raw("lab/status", "offline", boot_id="boot-a"))
    assert lab(fleet).status == "offline"


def test_a_camera_that_was_taken_out_is_not_shown(fleet: Fleet) -> None:
    tell(fleet, message(info(cameras=("hall",)), "lab"))
    assert [camera.name for camera in lab(fleet).cameras] == ["hall"]


def test_what_is_taken_back_is_forgotten(fleet: Fleet) -> None:
    tell(fleet, message(alert(), "lab", "crying"))
    take(fleet, raw("lab/alert/crying", b""), raw("lab/camera/hall/status", b""), raw("lab/camera/hall/state", b""))
    assert lab(fleet).alerts == ()
    assert [camera.name for camera in lab(fleet).cameras] == ["front"]


def test_a_node_of_which_everything_is_taken_back_is_gone() -> None:
    fleet = Fleet()
    take(fleet, raw("lab/status", "online", retained=True), raw("lab/status", b""))
    assert fleet.view(T0_NS).total == 0


def test_samples_grow_old(fleet: Fleet) -> None:
    assert not lab(fleet, 29).sample_stale
    assert (lab(fleet, 31).sample_stale, lab(fleet, 31).cameras[0].fps) == (True, None)


def test_watts_where_somebody_tells_them(fleet: Fleet) -> None:
    assert lab(fleet).total_w is None
    take(fleet, raw("lab/telemetry/power", {"total_w": 4.25, "rails": {"cpu": [1]}}))
    assert lab(fleet, 10).total_w == 4.25
    assert lab(fleet, 60).total_w is None


def test_heat_and_watts_of_a_board_and_nothing_of_one_without_sensors(fleet: Fleet) -> None:
    take(fleet, incoming(message(power(), "lab")))
    assert (lab(fleet, 10).total_w, lab(fleet, 10).temperature_c) == (5.0, 61.5)
    assert lab(fleet, 60).temperature_c is None
    take(fleet, incoming(message(nothing_told(), "lab")))
    assert (lab(fleet, 10).total_w, lab(fleet, 10).temperature_c) == (None, None)


def test_a_governor_of_an_earlier_run_is_not_shown(fleet: Fleet) -> None:
    assert lab(fleet).governor is None
    take(fleet, incoming(message(governor(2), "lab"), retained=True))
    assert lab(fleet).governor == GovernorView(2, 5, "temperature", "81.5 °C in cpu-thermal, limit 80 °C")
    take(fleet, incoming(message(info("boot-b"), "lab")))
    assert lab(fleet).governor is None
    take(fleet, raw("lab/governor", b"", retained=True))
    assert lab(fleet).governor is None


def test_silence_is_noticed(fleet: Fleet) -> None:
    assert lab(fleet, SILENT_S).silent_s is None
    assert lab(fleet, SILENT_S + 1).silent_s == SILENT_S + 1
    take(fleet, raw("lab/status", "offline"))
    assert lab(fleet, SILENT_S + 1).silent_s is None


def test_the_age_of_retained_health_is_what_it_says_itself() -> None:
    fleet = Fleet()
    take(fleet, raw("lab/status", "online"))
    tell(fleet, message(health(when_s=-500), "lab"), retained=True)
    assert lab(fleet).silent_s == 500
    tell(fleet, message(health(when_s=-500, clock_synced=False), "lab"), retained=True)
    assert lab(fleet).silent_s is None, "a clock that was not set says nothing"
    tell(fleet, message(health(when_s=+500), "lab"), retained=True)
    assert lab(fleet).uptime_s == 7380, "nothing is younger than now"


def test_privacy(fleet: Fleet) -> None:
    pause = Privacy(paused=True, cameras=["front"], until=at(60), by="command line", since=at(0))
    tell(fleet, message(pause, "lab"))
    view = lab(fleet)
    assert (view.paused, view.paused_until_ns, [camera.paused for camera in view.cameras]) == (
        ("front",), ns(60), [True, False]
    )  # fmt: skip
    tell(fleet, message(Privacy(paused=False, cameras=[], until=None, by="", since=at(1)), "lab"))
    assert lab(fleet).paused == ()


@pytest.mark.parametrize(
    ("more", "late"),
    [
        ({}, False),
        ({"replayed": True}, True),
        ({"published_at": at(31.2)}, True),
        ({"published_at": at(30.9)}, False),
        ({"published_at": ""}, False),
    ],
)
def test_late_events(fleet: Fleet, more: dict[str, object], *, late: bool) -> None:
    tell(fleet, message(event(1, **more), "lab", "front"))
    (shown,) = fleet.view(T0_NS).events
    assert (shown.late, shown.at_ns, shown.what) == (late, ns(1), "front  track 1  update  happiness 91%")


def test_an_event_that_comes_twice_is_shown_once(fleet: Fleet) -> None:
    tell(fleet, message(event(1), "lab", "front"), message(event(2), "lab", "front"), message(event(1), "lab", "front"))
    assert [shown.id for shown in fleet.view(T0_NS).events] == ["boot-a-2", "boot-a-1"]


def test_the_history_of_alerts_is_among_the_events(fleet: Fleet) -> None:
    tell(fleet, alert_history(alert(state="cleared", why="calm again", replayed=True), "lab"))
    (shown,) = fleet.view(T0_NS).events
    assert (shown.what, shown.late) == ("alert crying cleared: calm again", True)


def test_alerts_go_first_then_problems_then_the_alphabet() -> None:
    fleet = Fleet()
    for node in ("e", "d", "c", "b", "a"):
        take(fleet, *well(node))
    tell(fleet, message(alert(), "e", "crying"))
    tell(fleet, message(condition("stalled"), "d", "front"))
    tell(fleet, message(condition("disabled"), "b", "front"))
    view = fleet.view(T0_NS)
    assert [node.name for node in view.nodes] == ["e", "d", "a", "b", "c"]
    assert [node.name for node in fleet.view(T0_NS, 2).nodes] == ["e", "d"]
    assert (view.total, view.online, [one.node for one in view.alerts]) == (5, 5, ["e"])


def test_more_nodes_than_it_can_remember_are_counted() -> None:
    fleet = Fleet(nodes_max=3)
    for number in range(5):
        take(fleet, raw(f"node-{number}/status", "online"))
    assert (fleet.view(T0_NS).total, fleet.view(T0_NS).beyond) == (3, 2)


def test_more_parts_than_a_node_can_have_are_passed_over() -> None:
    fleet = Fleet()
    for number in range(2 * PARTS_MAX):
        tell(fleet, message(condition("online"), "lab", f"c{number}"))
        tell(fleet, message(alert(f"r{number}"), "lab", f"r{number}"))
    assert (len(lab(fleet).cameras), len(lab(fleet).alerts)) == (PARTS_MAX, PARTS_MAX)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("lab/status", b"maybe"),
        ("lab/info", b"\xff"),
        ("lab/health", b"[]"),
        ("lab/health", b"{"),
        ("lab/health", b'{"uptime_s": NaN}'),
        ("lab/health", b'{"uptime_s": 1e999}'),
        ("lab/health", b"[" * 60_000),
        ("lab/health", b'{"text": "' + b"x" * 70_000 + b'"}'),
        ("lab/health", b'{"uptime_s": ' + b"9" * 5000 + b"}"),
        ("lab/camera/front/status", b"{}"),
        ("lab/camera/front/state", b'{"expression": 7}'),
        ("lab/camera/front/events", b'{"type": "start"}'),
        ("lab/alert/crying", b'{"state": "perhaps"}'),
        ("lab/alert/crying/events", b"{}"),
        ("Lab/status", b"online"),
        ("lab/camera/\x1b[2J/status", b'{"state":"online"}'),
        ("", b""),
    ],
)
def test_what_cannot_be_read_is_counted_and_changes_nothing(fleet: Fleet, topic: str, payload: bytes) -> None:
    before = fleet.view(T0_NS)
    take(fleet, raw(topic, payload))
    after = fleet.view(T0_NS)
    # Python 3.10.6 and before, and 3.11 with another limit, read numbers of any length.
    if after.unreadable == 0:
        assert b"9999" in payload
    else:
        assert after.unreadable == 1
    assert after.nodes == before.nodes


def test_topics_of_tomorrow_and_commands_are_no_fault(fleet: Fleet) -> None:
    take(fleet, *(raw(f"new/{rest}", b"?") for rest in ("cmd/pause", "rsp/pause", "identity", "weather", "a/b/c/d")))
    assert (fleet.view(T0_NS).total, unreadable(fleet)) == (1, 0)


def test_values_of_the_wrong_kind_are_not_known(fleet: Fleet) -> None:
    sent = {"expression": "fear", "faces": "two", "confidence": 7}
    take(fleet, raw("lab/camera/front/state", sent), raw("lab/health", {"uptime_s": True, "problems": [1, {}]}))
    view = lab(fleet)
    assert (view.cameras[0].expression, view.cameras[0].faces, view.cameras[0].confidence) == ("fear", None, None)
    assert (view.uptime_s, [one.code for one in view.problems]) == (None, ["?"])


def test_a_huge_number_is_not_known(fleet: Fleet) -> None:
    take(fleet, raw("lab/telemetry/throughput", {"cpu_percent": 10**400, "rss_bytes": -1}))
    assert (lab(fleet).cpu_percent, lab(fleet).rss_bytes) == (None, 127_225_856)


# What nodes could send if all of it were wrong: real topics, and JSON of any shape under real keys.
KEYS = st.sampled_from(
    ["state", "expression", "faces", "confidence", "since", "problems", "code", "text", "cameras", "boot_id",
     "uptime_s", "paused", "until", "latency_ms", "p95", "cpu_percent", "rss_bytes", "total_w", "period_s",
     "occurred_at", "why", "published_at", "type", "track", "replayed", "id", "reason", "fps"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("active"), st.just(at(0)),
    st.sampled_from(["2026-13-01T00:00:00Z", "2999-12-31T23:59:60Z", "\x1b[31m", "[bold]", "\ud800", "x" * 5000]),
)  # fmt: skip
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner), max_leaves=12)
PAYLOADS = st.one_of(
    st.binary(), st.dictionaries(KEYS, JSON).map(lambda body: json.dumps(body).encode()),
    st.sampled_from([b"online", b"offline", b""]),
)  # fmt: skip
REAL_TOPICS = [channel.topic.format(camera="front", rule="crying", command="pause") for channel in CHANNELS]
TOPICS = st.one_of(
    st.sampled_from([f"edge-fer/lab/{rest}" for rest in [*REAL_TOPICS, "telemetry/power"]]),
    st.text().map(lambda rest: f"edge-fer/{rest}"),
    st.text(),
)
MESSAGES = st.builds(
    Incoming, TOPICS, PAYLOADS, st.booleans(), properties=st.dictionaries(st.just("boot_id"), st.text())
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.integers(0, 2**62))
def test_nothing_that_is_received_makes_it_fail_or_reaches_the_terminal_raw(
    messages: list[Incoming], now_ns: int
) -> None:
    fleet = Fleet()
    for one in messages:
        fleet.take(one, now_ns)
    view = fleet.view(now_ns)
    assert all(texts_are_harmless(node) for node in view.nodes)
    assert all(shown.what.isprintable() for shown in view.events)
    assert view.total <= 1, "only nodes with a proper name, that told something"


def texts_are_harmless(node: NodeView) -> bool:
    cameras = [
        text for camera in node.cameras for text in (camera.name, camera.state, camera.reason, camera.expression)
    ]
    alerts = [text for one in node.alerts for text in (one.rule, one.why, one.text)]
    problems = [text for one in node.problems for text in (one.code, one.text)]
    texts = [node.name, node.version, node.board, node.boot_id, *node.paused, *cameras, *alerts, *problems]
    return all(text is None or text.isprintable() for text in texts)


@settings(deadline=None)
@given(st.text())
def test_harmless_text_is_printable_and_what_was_printable_stays(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable()
    if text.isprintable() and len(text) <= 240:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202eevil", "\\u202eevil"),
        ("1\u00a0m", "1 m"),
        ("\x9b31m", "\\x9b31m"),
        ("größe 笑", "größe 笑"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_instead(text: str, shown: str) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-18T11:06:40.000Z", 1_795_000_000_000_000_000),
        ("2026-11-18T11:06:40.5Z", 1_795_000_000_500_000_000),
        ("2026-11-18T11:06:40Z", 1_795_000_000_000_000_000),
        ("2026-11-18T11:06:40+01:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-02-30T00:00:00Z", None),
        ("٢٠٢٦-11-18T11:06:40Z", None),
        ("", None),
    ],
)
def test_times(text: str, expected: int | None) -> None:
    assert unix_ns(text) == expected


def test_what_a_camera_sees_changes_with_each_message(fleet: Fleet) -> None:
    tell(fleet, message(sees(None, "unknown"), "lab", "front"))
    assert (lab(fleet).cameras[0].faces, lab(fleet).cameras[0].expression) == (None, "unknown")
