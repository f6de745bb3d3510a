"""What arrives on the command topics: read, refused, or thrown away, but never a crash."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_fer.config import load_config
from edge_fer.errors import ConfigError
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.remote.queue import MAX_REFUSALS, MAX_REQUESTS, CommandQueue
from edge_fer.remote.replies import PER_SECOND, Outcome, Replies
from edge_fer.remote.requests import Asker, Refusal, Request, may_answer_to, read_request
from edge_fer.remote.settings import COMMANDS, CommandSettings

S = 1_000_000_000
EXAMPLES = int(os.environ.get("EDGE_FER_EXAMPLES", "300"))
"""Of each fuzz test; the figure of the long run is 100,000."""


def incoming(command: str, payload: object = b"", **more: Any) -> Incoming:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Incoming(f"edge-fer/lab/cmd/{command}", data, **{"retained": False, **more})


def read(command: str, payload: object = b"", **more: Any) -> Request | Refusal:
    return read_request(incoming(command, payload, **more), "lab", COMMANDS)


def why(command: str, payload: object = b"", **more: Any) -> str:
    found = read(command, payload, **more)
    assert isinstance(found, Refusal)
    return found.why


def test_an_empty_payload_is_an_empty_object() -> None:
    for payload in (b"", b" \n", {}):
        assert read("resume", payload) == Request(Asker("resume"), "resume")


def test_a_pause_names_cameras_and_a_time_and_the_id_comes_back() -> None:
    found = read("pause", {"cameras": ["hall", "front", "hall"], "for_s": 60, "id": "a-1"})
    assert found == Request(Asker("pause", "a-1"), "pause", ("hall", "front"), 60)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"for": 5}, "unknown key 'for'; known here: cameras, for_s, id"),
        ({"for_s": 0}, "for_s: found 0; input should be greater than or equal to 1"),
        ({"for_s": 604_801}, "for_s: found 604801"),
        ({"for_s": "60"}, "for_s: found '60'; input should be a valid integer"),
        ({"for_s": True}, "for_s: found True"),
        ({"for_s": 1.5}, "for_s: found 1.5"),
        (b'{"for_s": 1e999}', "for_s: found inf"),
        (b'{"for_s": ' + b"9" * 4000 + b"}", "for_s: found 9999"),
        ({"cameras": []}, "cameras: found []"),
        ({"cameras": "front"}, "cameras: found 'front'"),
        ({"cameras": ["Front\n"]}, "cameras.0: found 'Front\\n'; a name is"),
        ({"id": 5}, "id: found 5"),
        ({"id": "x" * 101}, "id: found 'xxx"),
        (b'{"id": "\\u0000"}', "id: characters that cannot be printed"),
        (b'{"id": "\\ud800"}', "half a surrogate pair"),
        (b'{"\\ud800": 1}', "half a surrogate pair"),
        ([], "not a JSON object"),
        (b"5", "not a JSON object"),
        (b"{", "not JSON (Expecting property name"),
        (b'{"for_s": NaN}', "NaN is no number"),
        (b'{"for_s": 5, "for_s": 6}', "a key is given twice"),
        (b"\xff{}", "not UTF-8 (byte 0)"),
        (b"[" * 4000, "nested deeper than 4"),
        (b'{"id":' * 500, "nested deeper than 4"),
        (b" " * 4097, "4097 bytes; at most 4096"),
    ],
)
def test_what_is_wrong_is_told_in_one_short_line(payload: object, told: str) -> None:
    said = why("pause", payload)
    assert told in said
    assert "\n" not in said
    assert len(said) < 250


def test_brackets_in_a_string_are_no_depth() -> None:
    assert why("pause", {"id": '[[[[[[\\"{{{{{', "x": 1}).startswith("unknown key 'x'")


def test_an_unknown_command_is_answered_without_its_name_in_a_topic() -> None:
    found = read("reboot#\ud800")
    assert isinstance(found, Refusal)
    assert found.asker.command == "unknown"
    assert "'reboot#\\ud800'; known here: pause, resume" in found.why


def test_a_power_mode_is_a_name_an_id_or_a_budget() -> None:
    for mode in ("15W", "2", "MODE_30W_ALL", "1200MHz", "2188.8MHz"):
        assert read("set-power-mode", {"mode": mode}) == Request(Asker("set-power-mode"), "set-power-mode", mode=mode)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "mode is missing"),
        ({"id": "a"}, "mode is missing"),
        ({"mode": 2}, "mode: found 2; input should be a valid string"),
        ({"mode": ""}, "mode: found ''; a mode is a name, an id or a budget, such as 15W"),
        ({"mode": "15 W"}, "mode: found '15 W'; a mode is"),
        ({"mode": "15W\n"}, "mode: found '15W\\n'; a mode is"),
        ({"mode": "$(reboot)"}, "mode: found '$(reboot)'; a mode is"),
        ({"mode": "../../x"}, "mode: found '../../x'; a mode is"),
        ({"mode": "x" * 65}, "mode: found 'xxx"),
        ({"mode": "2", "cameras": ["front"]}, "unknown key 'cameras'; known here: id, mode"),
    ],
)
def test_a_power_mode_that_could_be_anything_else_is_refused(payload: object, told: str) -> None:
    assert why("set-power-mode", payload).startswith(told)


def test_what_is_retained_or_not_allowed_is_refused_with_its_id() -> None:
    assert "at each connection" in why("pause", {"id": "a"}, retained=True)
    found = read_request(incoming("resume", {"id": "a"}), "lab", ["pause"])
    assert isinstance(found, Refusal)
    assert (found.asker.id, found.why) == ("a", "resume is not allowed here; [commands] allow names those that are")


@pytest.mark.parametrize(
    ("topic", "may"),
    [
        ("dashboard/answers/1", True),
        ("edge-fer/lab/rsp/dashboard", True),
        ("edge-fer-dashboard/1", True),
        ("edge-fer/lab/camera/front/events", False),
        ("edge-fer/lab/cmd/resume", False),
        ("edge-fer/other/cmd/resume", False),
        ("edge-fer/other/rsp/pause", False),
        ("edge-fer", False),
        ("homeassistant/device/x/config", False),
        ("homeassistant", False),
        ("$SYS/x", False),
        ("a/+/b", False),
        ("a/#", False),
        ("a\0b", False),
        ("a" * 257, False),
        ("", False),
    ],
)
def test_nobody_can_make_the_daemon_forge_an_event_or_a_command(topic: str, *, may: bool) -> None:
    assert may_answer_to(topic, "lab", ["homeassistant"]) is may
    found = read_request(incoming("pause", response_topic=topic, correlation=b"c"), "lab", COMMANDS, ["homeassistant"])
    assert (found.asker.response_topic, found.asker.correlation) == ((topic, b"c") if may else (None, None))


def test_correlation_data_that_is_too_long_is_not_sent_back() -> None:
    assert read("pause", response_topic="a", correlation=b"x" * 1025).asker.response_topic is None


def test_nothing_is_subscribed_where_nothing_is_allowed() -> None:
    assert CommandQueue(CommandSettings(), "lab").subscriptions == {}
    queue = CommandQueue(CommandSettings(allow=["pause"]), "lab")
    assert list(queue.subscriptions) == ["edge-fer/lab/cmd/+"]


def test_the_settings_know_their_commands() -> None:
    camera = {"camera": {"front": {"uri": "sample:"}}}
    assert load_config(None, camera).commands.allow == []
    for wrong, told in ((["stop"], "commands.allow.0: found 'stop'"), (["pause", "pause"], "named twice")):
        with pytest.raises(ConfigError, match=told):
            load_config(None, {**camera, "commands": {"allow": wrong}})


def test_beyond_sixteen_commands_it_is_busy_and_beyond_that_silent() -> None:
    queue = CommandQueue(CommandSettings(allow=["pause"]), "lab")
    for number in range(100):
        queue.take(incoming("pause", {"id": str(number)}))
    busy = queue.refusals()
    assert [refusal.asker.id for refusal in busy] == [str(number) for number in range(16, 32)]
    assert busy[0].why.startswith("busy: 16 commands wait already")
    assert queue.dropped == 100 - MAX_REQUESTS - MAX_REFUSALS
    taken = [queue.next_request() for _ in range(17)]
    assert [request.asker.id for request in taken if request] == [str(number) for number in range(16)]


class Sent:
    """A publisher, and the clock of who uses it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.now_ns = 0
        self.replies = Replies(
            self.messages.append, node="lab", boot_id="b", clock_ns=lambda: self.now_ns, unix_ns=lambda: 0
        )


def test_a_reply_goes_to_its_topic_and_to_the_one_that_was_asked_for() -> None:
    sent = Sent()
    sent.replies.say(Outcome(Asker("pause", "a", "dashboard/1", b"\0c"), ok=True, text="done rtsp://u:secret@x/"))
    sent.replies.turn([])
    plain, answer = sent.messages
    assert (plain.topic, plain.correlation, plain.expiry_s) == ("edge-fer/lab/rsp/pause", None, 60)
    assert (answer.topic, answer.correlation, answer.qos, answer.retain) == ("dashboard/1", b"\0c", 1, False)
    assert plain.body == answer.body
    assert plain.body == {
        "command": "pause",
        "ok": True,
        "message": "done rtsp://u:***@x/",
        "id": "a",
        "occurred_at": "1970-01-01T00:00:00.000Z",
        "boot_id": "b",
        "schema_version": 1,
    }


def test_who_asks_for_the_usual_topic_is_answered_once_with_the_correlation() -> None:
    sent = Sent()
    sent.replies.turn([Refusal(Asker("pause", None, "edge-fer/lab/rsp/pause", b"c"), "no")])
    assert [(message.topic, message.correlation) for message in sent.messages] == [("edge-fer/lab/rsp/pause", b"c")]


def test_a_flood_gets_ten_replies_a_second_and_what_was_done_goes_first() -> None:
    sent = Sent()
    for second in range(3):
        sent.now_ns = second * S
        sent.replies.say(Outcome(Asker("reload"), ok=True, text="nothing changed"))
        sent.replies.turn([Refusal(Asker("unknown"), "no")] * 50)
    assert len(sent.messages) == 3 * PER_SECOND
    assert [message.body["command"] for message in sent.messages[::PER_SECOND]] == ["reload"] * 3
    assert sent.replies.dropped == 3 * (50 - PER_SECOND + 1)


def test_what_was_done_waits_for_its_reply() -> None:
    sent = Sent()
    for number in range(15):
        sent.replies.say(Outcome(Asker("detect-now", str(number)), ok=True, text="done"))
    sent.replies.turn([])
    assert len(sent.messages) == PER_SECOND
    sent.now_ns += S
    sent.replies.turn([])
    assert [message.body["id"] for message in sent.messages] == [str(number) for number in range(15)]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text()
    | st.sampled_from(["front", "hall", "\ud800", "a" * 101]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["id", "cameras", "for_s"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Commands as they should be, as they should not, and what an error on the way makes of them."""
    data = draw(
        st.binary(max_size=200)
        | JSON.map(lambda found: json.dumps(found).encode())
        | st.fixed_dictionaries({}, optional={"id": JSON, "cameras": JSON, "for_s": JSON}).map(
            lambda found: json.dumps(found, ensure_ascii=True).encode()
        )
        | st.integers(0, 5000).map(lambda count: b"[" * count)
        | st.sampled_from([b'{"for_s":NaN}', b'{"id":1,"id":2}', b'{"for_s":' + b"9" * 4090, b"{}"])
    )
    if data and draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=3)) + data[place + draw(st.integers(0, 3)) :]
    return data


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    command=st.sampled_from([*COMMANDS, "unknown", ""]) | st.text(max_size=20),
    payload=payloads(),
    retained=st.booleans(),
    response_topic=st.none() | st.text(max_size=20) | st.just("dashboard/1"),
    correlation=st.none() | st.binary(max_size=2000),
)
@example(command="pause", payload=b'{"id": "\\ud83d"}', retained=False, response_topic="\ud800", correlation=b"")
def test_any_bytes_get_one_reply_or_are_carried_out(
    command: str, payload: bytes, *, retained: bool, response_topic: str | None, correlation: bytes | None
) -> None:
    sent, queue = Sent(), CommandQueue(CommandSettings(allow=[*COMMANDS]), "lab")
    queue.take(incoming(command, payload, retained=retained, response_topic=response_topic, correlation=correlation))
    refusals, request = queue.refusals(), queue.next_request()
    assert len(refusals) + (request is not None) == 1
    assert queue.dropped == 0
    if request:
        assert not retained
        sent.replies.say(Outcome(request.asker, ok=True, text="done"))
    sent.replies.turn(refusals)
    where = [message.topic for message in sent.messages]
    assert len(where) == len(set(where)) <= 2
    assert any(topic in {f"edge-fer/lab/rsp/{name}" for name in (*COMMANDS, "unknown")} for topic in where)
    for message in sent.messages:
        assert json.loads(message.to_json())["schema_version"] == 1
        message.topic.encode()
