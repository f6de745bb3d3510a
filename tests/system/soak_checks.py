"""What must be true of a recording of faults: pure functions, each a list of checks with what was found."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from soak_record import BASE, FaultRecord, Heard, Recording, Sample

DELIVERED_SHARE = 0.3
"""Of its usual rate the healthy camera must keep this during a fault: a wedge leaves nothing, a slow machine less."""

SILENCE_S = 10.0
"""Longest time without telemetry, which comes every second: the main loop turns."""

ZOMBIE_S = 10.0
"""A child that has just ended is one until its reader looks; not for so long."""

MORE_THREADS, MORE_FDS = 1, 2
"""A dead camera's attempts come and go; a leak is one for each fault."""

ENDED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    name: str
    passed: bool
    found: str


def all_checks(
    recording: Recording, *, healthy: str, others: Sequence[str], secret: str, rss_limit_mb: float
) -> list[Check]:
    """Every check; `others` are the cameras that get faults, `secret` a password that nobody may see."""
    made = len(recording.faults)
    return [
        Check("faults were made", made > 0, f"{made}, {len(recording.skipped)} could not be"),
        *(check for fault in recording.faults for check in fault_checks(recording, fault, healthy, others)),
        *sequence_checks(recording),
        *status_checks(recording, [healthy, *others]),
        loop_check(recording),
        zombie_check(recording.samples),
        *growth_checks(recording.samples, rss_limit_mb),
        secret_check(recording, secret),
        *end_checks(recording, [healthy, *others]),
    ]


def fault_checks(recording: Recording, fault: FaultRecord, healthy: str, others: Sequence[str]) -> list[Check]:
    """The fault's own camera tells it in time and comes back, and no other camera is touched."""
    checks = [_healthy_check(recording, fault, healthy)]
    if fault.camera:
        before = [heard.body["state"] for heard in recording.statuses(fault.camera) if heard.t_s < fault.began_s][-1:]
        checks.append(Check(f"{fault.name}: {fault.camera} was online before", before == ["online"], str(before)))
        checks += [*_state_check(recording, fault), _back_check(recording, fault)]
    touched = [
        f"{camera} {heard.body['state']} ({heard.body['reason']})"
        for camera in (healthy, *others)
        if camera != fault.camera
        for heard in recording.statuses(camera)
        if fault.began_s <= heard.t_s <= fault.over_s
    ]
    checks.append(Check(f"{fault.name}: other cameras untouched", not touched, ", ".join(touched) or "no change"))
    return checks


def state_after(recording: Recording, fault: FaultRecord) -> Heard | None:
    """The first expected state of the fault's camera after its beginning."""
    return next(
        (
            heard
            for heard in recording.statuses(fault.camera)
            if heard.t_s >= fault.began_s and heard.body["state"] in fault.expected
        ),
        None,
    )


def online_after(recording: Recording, camera: str, since_s: float) -> float | None:
    """When the camera's state is online for good, at or after `since_s`; None where it never is.

    A camera that stays online is so at `since_s`.
    """
    states = recording.statuses(camera)
    before = [heard for heard in states if heard.t_s <= since_s]
    if before and before[-1].body["state"] == "online":
        return since_s
    return next((heard.t_s for heard in states if heard.t_s > since_s and heard.body["state"] == "online"), None)


def node_state(recording: Recording) -> str:
    """What the node said last of itself; "none" where it said nothing."""
    told = [heard.body for heard in recording.heard if heard.topic == f"{BASE}/status"]
    return str(told[-1]) if told else "none"


def sequence_checks(recording: Recording) -> list[Check]:
    """Events count up from 1 without a gap, and the broker's subscriber has every one that was printed."""
    seqs = {heard.body["seq"] for heard in recording.events()}
    printed = [event["seq"] for event in recording.printed]
    boots = {heard.body["boot_id"] for heard in recording.events()}
    missing = sorted(set(range(1, max(seqs, default=0) + 1)) - seqs)
    lost = sorted(set(printed) - seqs)
    repeated = sum(count - 1 for count in Counter(heard.body["id"] for heard in recording.events()).values())
    return [
        Check("there are events", bool(seqs), f"{len(seqs)} of {len(boots)} boot, {repeated} delivered twice"),
        Check("one boot", len(boots) == 1, f"{len(boots)} boot ids"),
        Check("seq has no gap", not missing, f"missing {missing[:10]}" if missing else f"1 to {len(seqs)}"),
        Check(
            "printed events count from 1, each once",
            printed == list(range(1, len(printed) + 1)),
            f"{len(printed)} printed",
        ),
        Check("every printed event reached the subscriber", not lost, f"lost {lost[:10]}" if lost else "all"),
    ]


def status_checks(recording: Recording, cameras: Sequence[str]) -> list[Check]:
    """Every state of a camera has a reason; those published are of the contract."""
    known = {"connecting", "online", "stalled", "frozen", "dark", "offline", "disabled"}
    bodies = [(camera, heard.body) for camera in cameras for heard in recording.statuses(camera)]
    strange = [f"{camera} {body['state']}" for camera, body in bodies if body["state"] not in known]
    mute = [f"{camera} {body['state']}" for camera, body in bodies if body["state"] != "online" and not body["reason"]]
    counts = Counter(body["state"] for _, body in bodies)
    told = ", ".join(f"{state} {count}" for state, count in counts.most_common())
    return [
        Check("states are known ones", not strange, ", ".join(strange) or told),
        Check("states have a reason", not mute, ", ".join(mute) or "all"),
    ]


def loop_check(recording: Recording) -> Check:
    """Telemetry never pauses for long while there is a broker."""
    times = [heard.t_s for heard in recording.throughput() if heard.t_s <= recording.stopped_s]
    outages = [(fault.began_s, fault.over_s) for fault in recording.faults if fault.broker]
    gaps = [
        after - before
        for before, after in pairwise(times)
        if not any(begin <= after and before <= end for begin, end in outages)
    ]
    longest_s = max(gaps, default=float("inf"))
    return Check("the main loop turns", longest_s <= SILENCE_S, f"telemetry paused {longest_s:.1f} s at most")


def zombie_check(samples: Sequence[Sample]) -> Check:
    """No ended child stays unreaped."""
    first_seen: dict[int, float] = {}
    longest_s = 0.0
    for sample in samples:
        first_seen = {pid: first_seen.get(pid, sample.t_s) for pid in sample.zombies}
        longest_s = max([longest_s, *(sample.t_s - since_s for since_s in first_seen.values())])
    return Check("children are reaped", longest_s < ZOMBIE_S, f"longest {longest_s:.1f} s in {len(samples)} samples")


def growth_checks(samples: Sequence[Sample], rss_limit_mb: float) -> list[Check]:
    """Median of the first quarter against that of the last, of quiet moments; a limit of 0 only tells memory."""
    first, last = quarters([sample for sample in samples if sample.quiet])
    if not first or not last:
        return [Check("no growth", passed=False, found="too few quiet moments to tell; run it longer")]
    kinds: list[tuple[str, float, Callable[[Sample], float]]] = [
        ("threads", MORE_THREADS, lambda sample: sample.threads),
        ("open files", MORE_FDS, lambda sample: sample.fds),
        ("MB resident", rss_limit_mb or float("inf"), lambda sample: sample.rss_mb),
    ]
    checks = []
    for name, limit, value in kinds:
        before, after = (statistics.median(map(value, quarter)) for quarter in (first, last))
        checks.append(Check(f"no growth: {name}", after - before <= limit, f"{before:.1f} then {after:.1f}"))
    return checks


def quarters(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Samples of the first and of the last 25 % of the time."""
    if not samples:
        return [], []
    begin_s, end_s = samples[0].t_s, samples[-1].t_s
    quarter_s = (end_s - begin_s) / 4
    first = [sample for sample in samples if sample.t_s <= begin_s + quarter_s]
    last = [sample for sample in samples if sample.t_s >= end_s - quarter_s]
    return (first, last) if quarter_s > 0 else ([], [])


def secret_check(recording: Recording, secret: str) -> Check:
    """A camera's password stands in no message, log line or process title."""
    places = {
        "log": secret in recording.log,
        "a process title": any(secret in title for title in recording.titles),
        "a message": any(secret in str(heard.body) for heard in recording.heard),
    }
    found = [place for place, there in places.items() if there]
    return Check("no password is shown", not found, ", ".join(found) or f"{len(recording.titles)} process titles seen")


def end_checks(recording: Recording, cameras: Sequence[str]) -> list[Check]:
    """SIGTERM ends it: exit code 0, no traceback, everything offline, nothing left behind."""
    node = node_state(recording)
    last = {camera: _last_state(recording, camera) for camera in cameras}
    return [
        Check("exit code 0", recording.exit_code == 0, str(recording.exit_code)),
        Check("ends in time", recording.ended_after_s <= ENDED_WITHIN_S, f"{recording.ended_after_s:.1f} s"),
        Check("no traceback", "Traceback" not in recording.log, f"{len(recording.log.splitlines())} lines of log"),
        Check("the node says goodbye", node == "offline", node),
        Check("cameras are offline", set(last.values()) == {"offline"}, str(last)),
        Check("no child outlives it", not recording.left_behind, str(recording.left_behind)),
    ]


def _state_check(recording: Recording, fault: FaultRecord) -> list[Check]:
    if not fault.expected:
        return []
    name = f"{fault.name}: {fault.camera} becomes {' or '.join(sorted(fault.expected))}"
    heard = state_after(recording, fault)
    if heard is None or heard.t_s > fault.over_s:
        states = [told.body["state"] for told in recording.statuses(fault.camera) if told.t_s >= fault.began_s]
        return [Check(name, passed=False, found=f"never; states were {states[:5]}")]
    took_s = heard.t_s - fault.began_s
    found = f"{heard.body['state']} after {took_s:.1f} of {fault.within_s:.0f} s: {heard.body['reason']}"
    return [Check(name, took_s <= fault.within_s, found)]


def _back_check(recording: Recording, fault: FaultRecord) -> Check:
    online_s = online_after(recording, fault.camera, fault.undone_s)
    found = "never" if online_s is None else f"after {online_s - fault.undone_s:.1f} of {fault.back_within_s:.0f} s"
    passed = online_s is not None and online_s - fault.undone_s <= fault.back_within_s
    return Check(f"{fault.name}: {fault.camera} comes back", passed, found)


def _healthy_check(recording: Recording, fault: FaultRecord, healthy: str) -> Check:
    """Frames looked at between the last sample before the fault and the first after it, against the usual rate."""
    counts = [(heard.t_s, _looked_at(heard.body, healthy)) for heard in recording.throughput()]
    usual = _rate(counts)
    before = [count for count in counts if count[0] <= fault.began_s][-1:]
    after = [count for count in counts if count[0] >= fault.over_s][:1]
    name = f"{fault.name}: {healthy} keeps delivering"
    if not before or not after:
        return Check(name, passed=False, found="no telemetry before or after it")
    rate = _rate([*before, *after])
    return Check(name, rate >= DELIVERED_SHARE * usual > 0, f"{rate:.1f} of {usual:.1f} pictures a second")


def _rate(counts: Sequence[tuple[float, int]]) -> float:
    if len(counts) < 2:
        return 0.0
    (begin_s, begin), (end_s, end) = counts[0], counts[-1]
    return (end - begin) / max(end_s - begin_s, 1e-9)


def _looked_at(body: dict[str, Any], camera: str) -> int:
    cameras = body["cameras"].get(camera, {})
    return int(cameras.get("captured", 0)) - int(cameras.get("dropped", 0))


def _last_state(recording: Recording, camera: str) -> str:
    states = recording.statuses(camera)
    return str(states[-1].body["state"]) if states else "none"
