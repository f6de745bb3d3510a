"""The arithmetic of docs/fleets.md: python tests/system/fleet_plan.py --boards 100000.

Sizes come from payloads made of the daemon's own types (fleet_board.py), rates from its defaults.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import fleet_board as board  # noqa: E402

from edge_fer.events import Alert, CameraStatus, Payload, Privacy  # noqa: E402
from edge_fer.messages import Message, alert_history, message  # noqa: E402

NODE, CAMERA, RULE = "ward-7-room-0123", "front", "crying"
CAMERAS, RULES = 2, 2
PUBLISH_BYTES = 9
"""Of MQTT 5, besides topic and payload: type, length (2), topic's length (2), packet id (2, not of QoS 0), no
properties (1), rounded up by 1; 3.1.1 has one less."""

PUBACK_BYTES, PING_BYTES = 4, 2
WRAP_BYTES = 74
"""IPv4 (20), TCP with timestamps (32) and one TLS 1.3 record (22) around each message; bare acknowledgements of TCP and
messages that share a segment are not counted."""

KEEPALIVE_S = 30
DRAIN_PER_S = 200

PAGE = HERE.parents[1] / "docs" / "fleets.md"
BEGIN, END = "<!-- fleet_plan.py -->", "<!-- end -->"


class Flow(NamedTuple):
    """One kind of message of one board."""

    name: str
    topic_bytes: int
    payload_bytes: int
    qos: int
    per_s: float

    @property
    def up_bytes(self) -> int:
        """On the wire, from the board to the broker."""
        return self.topic_bytes + self.payload_bytes + PUBLISH_BYTES - 2 * (self.qos == 0) + WRAP_BYTES


def one_alert() -> Alert:
    """With as many observations as it may have, half of 20 here."""
    sample = board.alert_sample(CAMERA)
    return Alert(
        rule=RULE,
        state="active",
        why="face 1 on camera front showed sadness, fear or anger for 12 s of the last 20 s: 60 %, alert from 60 %",
        value=0.6005,
        threshold=0.6,
        unit="share",
        cameras=[CAMERA],
        track=1,
        samples=[sample] * 10,
        since=sample.occurred_at,
        text="Look after the child.",
        boot_id="f7c31321d953",
    )


def flows(rates: board.Rates) -> list[Flow]:
    """What one board publishes in normal operation."""
    chance = random.Random(1)  # noqa: S311 - the same payloads each time
    boot = "f7c31321d953"
    event = board.expression_event(boot, 12_345, CAMERA, chance)
    # published_at is filled when it is sent.
    sent = message(event, NODE, CAMERA).sent(event.occurred_at, replayed=False)
    return [
        _flow("camera/+/events", sent, rates.events_per_s),
        _flow("camera/+/state", _of(board.camera_state(chance), CAMERA), rates.states_per_s),
        _flow("telemetry/throughput", _of(board.throughput(chance)), 1 / rates.throughput_s),
        _flow("telemetry/power", _of(board.power(boot)), 1 / rates.throughput_s),
        _flow("health", _of(board.health(boot)), 1 / rates.health_s),
        _flow("self-test", _of(board.self_test(boot)), 1 / rates.self_test_s),
        _flow("alert/+/events", alert_history(one_alert(), NODE), 20 / 86_400),
        _flow("alert/+", _of(one_alert(), RULE), 20 / 86_400),
    ]


def retained(rates: board.Rates) -> list[tuple[str, int, int]]:
    """What the broker keeps of one board: kind, how many, bytes of topic and payload of each."""
    by_name = {flow.name: flow for flow in flows(rates)}

    def size(name: str) -> int:
        return by_name[name].topic_bytes + by_name[name].payload_bytes

    status = CameraStatus(state="online", reason="frames arrive", since="2026-11-22T19:07:54.735Z")
    privacy = Privacy(paused=False, cameras=[], until=None, by="", since="2026-11-22T19:07:54.735Z")
    return [
        ("status", 1, len(f"edge-fer/{NODE}/status") + len("offline")),
        ("info", 1, _size(_of(board.node_info("f7c31321d953")))),
        ("health", 1, size("health")),
        ("privacy", 1, _size(_of(privacy))),
        ("governor", 1, _size(_of(board.governor("f7c31321d953")))),
        ("camera/+/status", CAMERAS, _size(_of(status, CAMERA))),
        ("camera/+/state", CAMERAS, size("camera/+/state")),
        ("alert/+", RULES, size("alert/+")),
    ]


def plan(boards: int, rates: board.Rates) -> str:
    """All tables, in Markdown."""
    all_flows, kept = flows(rates), retained(rates)
    messages = sum(flow.per_s for flow in all_flows)
    acked = sum(flow.per_s for flow in all_flows if flow.qos)
    events = next(flow for flow in all_flows if flow.name == "camera/+/events")
    up = sum(flow.per_s * flow.up_bytes for flow in all_flows)
    down = acked * (PUBACK_BYTES + WRAP_BYTES)
    pings = 1 / KEEPALIVE_S
    topics = sum(count for _, count, _ in kept)
    bytes_kept = sum(count * size for _, count, size in kept)
    stored = events.per_s * 86_400 * events.payload_bytes
    board_rows = [
        (
            flow.name,
            f"{flow.per_s:.4f}",
            flow.qos,
            flow.topic_bytes,
            flow.payload_bytes,
            f"{flow.per_s * flow.up_bytes:.1f}",
        )
        for flow in all_flows
    ]
    kept_rows = [(name, count, size, count * size) for name, count, size in kept]
    sums = [
        ("messages in", f"{messages:.3f}/s", f"{boards * messages:,.0f}/s"),
        ("of them QoS 1, acknowledged each", f"{acked:.3f}/s", f"{boards * acked:,.0f}/s"),
        ("bytes in, with TLS, TCP and IP", f"{up:.0f}/s", f"{boards * up * 8 / 1e6:,.0f} Mbit/s"),
        ("bytes of acknowledgements out", f"{down:.0f}/s", f"{boards * down * 8 / 1e6:,.0f} Mbit/s"),
        ("to each subscriber of everything", f"{messages:.3f}/s", f"{boards * up * 8 / 1e6:,.0f} Mbit/s"),
        (
            "to each subscriber of events only",
            f"{events.per_s:.3f}/s",
            f"{boards * events.per_s * events.up_bytes * 8 / 1e6:,.0f} Mbit/s",
        ),
        (
            "pings of a board with nothing to say, at most",
            f"{pings:.3f}/s",
            f"{boards * pings:,.0f}/s, {2 * boards * pings * (PING_BYTES + WRAP_BYTES) * 8 / 1e6:,.0f} Mbit/s",
        ),
        ("retained messages", f"{topics}", f"{boards * topics:,}"),
        ("bytes of them, topics and payloads", f"{bytes_kept:,}", f"{boards * bytes_kept / 1e6:,.0f} MB"),
        ("events stored downstream, as JSON, a day", f"{stored / 1e6:.1f} MB", f"{boards * stored / 1e12:.2f} TB"),
        (
            "the same where faces are in view a tenth of the day",
            f"{stored / 1e7:.2f} MB",
            f"{boards * stored / 1e13:.2f} TB",
        ),
    ]
    hour = events.per_s * 3600
    outage = [
        ("events that wait after an hour without a broker", f"{hour:.0f}", f"{boards * hour:,.0f}"),
        (
            "bytes of them, topics and payloads",
            f"{hour * (events.payload_bytes + events.topic_bytes) / 1e6:.2f} MB",
            f"{boards * hour * (events.payload_bytes + events.topic_bytes) / 1e9:,.0f} GB",
        ),
        (
            f"drained at {DRAIN_PER_S}/s, the default",
            f"{hour / DRAIN_PER_S:.1f} s",
            f"{boards * DRAIN_PER_S:,}/s: set `drain_per_s`",
        ),
        (
            "drained at 1/s",
            f"{hour:.0f} s",
            f"{boards:,}/s for {hour / 60:.0f} min, besides the {boards * messages:,.0f}/s of now",
        ),
        ("retained messages sent again when all come back", f"{topics}", f"{boards * topics:,}"),
        (
            "if all come back within 30 s",
            "",
            f"{boards / 30:,.0f} handshakes/s, {boards * topics / 30:,.0f} messages/s",
        ),
    ]
    return "\n\n".join(
        [
            _table(("kind", "per s", "QoS", "topic bytes", "payload bytes", "bytes/s on the wire"), board_rows),
            _table(("retained", "topics", "bytes of each", "bytes"), kept_rows),
            _table(("", "one board", f"{boards:,} boards"), sums),
            _table(("after an outage", "one board", f"{boards:,} boards"), outage),
        ]
    )


def _flow(name: str, made: Message, per_s: float) -> Flow:
    return Flow(name, len(made.topic), len(made.to_json()), made.qos, per_s)


def _of(payload: Payload, part: str = "") -> Message:
    return message(payload, NODE, part)


def _size(made: Message) -> int:
    return len(made.topic) + len(made.to_json())


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def written(page: str, tables: str) -> str:
    """The page with these tables between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


@click.command()
@click.option("--boards", default=100_000, show_default=True)
@click.option("--events-per-s", default=0.2, show_default=True, help="Of each board.")
@click.option("--write", is_flag=True, help="Into docs/fleets.md.")
def main(boards: int, events_per_s: float, *, write: bool) -> None:
    """Print the tables of docs/fleets.md."""
    tables = plan(boards, board.Rates(events_per_s=events_per_s))
    if write:
        PAGE.write_text(written(PAGE.read_text(), tables))
    else:
        click.echo(tables)


if __name__ == "__main__":
    main()
