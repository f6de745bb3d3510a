"""A publisher with a durable outbox, whose broker is away: python tests/system/broker_away.py --minutes 10 --rate 5."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "broker"), str(HERE.parents[1])]

from delivered import CarefulSubscriber, first_times, same_when_repeated  # noqa: E402
from realbrokers import MOSQUITTO, Mosquitto, wait_until  # noqa: E402

from edge_fer.events import BoxPx, ExpressionEvent  # noqa: E402
from edge_fer.labels import EXPRESSIONS  # noqa: E402
from edge_fer.login import BrokerAddress  # noqa: E402
from edge_fer.messages import Message, message  # noqa: E402
from edge_fer.mqtt.publisher import MqttPublisher  # noqa: E402
from edge_fer.outbox.outbox import Outbox  # noqa: E402
from edge_fer.outbox.store import Store  # noqa: E402

NODE = "node-1"
CAMERAS = 4
KEEPS = (
    "allow_anonymous true\npersistence true\nautosave_on_changes true\nautosave_interval 1\nmax_inflight_messages 100\n"
)
"""As deploy/mosquitto/edge-fer.conf has it."""


TOLD = ExpressionEvent(
    id="", seq=0, boot_id="boot", type="start", camera="", track=1, expression="sadness", confidence=0.5,
    scores=dict.fromkeys(EXPRESSIONS, 0.125), box=BoxPx(1, 2, 3, 4), frame_width_px=640, frame_height_px=360,
    duration_ms=250, occurred_at="2026-01-01T10:00:00.000Z",
)  # fmt: skip


def make_event(seq: int, cameras: int = CAMERAS) -> Message:
    """One of a stream over several cameras, in each of which one face stays in view."""
    camera = f"cam-{seq % cameras}"
    event = replace(TOLD, id=f"boot-{seq}", seq=seq, camera=camera, type="start" if seq <= cameras else "update")
    return message(event, NODE, camera)


def go(minutes: float, rate_per_s: float, folder: Path) -> str:
    """Before, during and after the absence; what came of it, or AssertionError."""
    away_s, around_s = minutes * 60, min(10.0, minutes * 60)
    options = f"{KEEPS}max_queued_messages 0\npersistence_location {folder}/"
    broker = Mosquitto(folder, options).start()
    subscriber = CarefulSubscriber(broker.port)
    wait_until(subscriber.connected.is_set, 30)
    state = folder / "state"
    state.mkdir()
    outbox = Outbox(store=Store(state))
    outbox.start()
    address = BrokerAddress("127.0.0.1", broker.port)
    publisher = MqttPublisher(address, node=NODE, boot_id="boot", outbox=outbox)
    publisher.start()
    try:
        wait_until(lambda: publisher.connected, 30)
        sent = _publish(publisher, 0, around_s, rate_per_s)
        wait_until(lambda: len(subscriber.ids()) == sent, 60)
        broker.kill()
        before, sent = sent, _publish(publisher, sent, away_s, rate_per_s)
        broker.start()
        back_s = time.monotonic()
        wait_until(lambda: publisher.connected and subscriber.connected.is_set(), 120)
        while_away, sent = sent, _publish(publisher, sent, around_s, rate_per_s)
        wait_until(lambda: publisher.pending == 0 and len(subscriber.ids()) == sent, 600)
        took_s = time.monotonic() - back_s
        heard = subscriber.events()
    finally:
        publisher.stop(1)
        outbox.stop(10)
        subscriber.close()
        broker.kill()
    assert not outbox.problem, outbox.problem
    by_topic = first_times(heard)
    for bodies in by_topic.values():
        order = [body["seq"] for body in bodies]
        assert order == sorted(order), "the order within a camera has changed"
        marked = {body["seq"] for body in bodies if body["replayed"]}
        late = {body["seq"] for body in bodies if before < body["seq"] <= while_away}
        assert late <= marked, "an event that waited is not marked"
    assert same_when_repeated(heard), "a repetition is another event"
    assert publisher.dropped == 0, f"{publisher.dropped} were thrown away"
    return (
        f"{sent} events, broker away {away_s:.0f} s: all arrived in order, {while_away - before} of them marked as "
        f"replayed, {len(heard) - sent} twice; done {took_s:.1f} s after its return"
    )


def _publish(publisher: MqttPublisher, done: int, seconds: float, rate_per_s: float) -> int:
    """Publish for so long; how many there are then."""
    began_s, number = time.monotonic(), done
    while time.monotonic() - began_s < seconds:
        number += 1
        publisher.publish(make_event(number))
        time.sleep(max(0.0, began_s + (number - done) / rate_per_s - time.monotonic()))
    return number


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long the broker is away.")
@click.option("--rate", default=5.0, show_default=True, help="Events per second, of four cameras together.")
def main(minutes: float, rate: float) -> None:
    """Kill a broker, publish on, start it again; every event must arrive, in order, marked."""
    if MOSQUITTO is None:
        raise click.ClickException("mosquitto is not installed: apt install mosquitto")
    with tempfile.TemporaryDirectory() as folder:
        click.echo(go(minutes, rate, Path(folder)))


if __name__ == "__main__":
    main()
