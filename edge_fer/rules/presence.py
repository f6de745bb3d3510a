"""How many faces there are: none for too long, or too many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_fer.decide import Reading
from edge_fer.look import CameraNews, Look
from edge_fer.rules.evaluator import Finding, Timeline, told_s
from edge_fer.rules.settings import FacesRule, NobodyRule
from edge_fer.rules.window import EvenSamples, Sight

MAX_GAP_NS = 10_000_000_000
"""Longest time between two looks of a camera that counts as watching."""


class NobodyEvaluator:
    """No face in a time of watching, by any of the cameras. The clock stands still while none of them watches."""

    unit = "s"

    def __init__(self, rule: NobodyRule, timeline: Timeline) -> None:
        self.threshold = rule.for_s
        self._timeline = timeline
        self._for_ns = round(rule.for_s * 1e9)
        self._watched_ns = 0  # without a face
        self._until_ns = 0  # somebody watched up to here
        self._looked_ns: dict[str, int] = {}  # newest look of each camera that watches
        self._present: dict[str, Sight] = {}  # cameras that see a face now
        self._watchers: set[str] = set()  # since the newest face
        self._sights = EvenSamples[Sight]()
        self._seen: Sight | None = None  # the newest face

    def look(self, look: Look, readings: Mapping[int, Reading]) -> None:
        """A face sets the clock to zero; a view without one moves it on."""
        now_ns = self._timeline.of_look(look)
        before_ns = self._looked_ns.get(look.camera, now_ns)
        self._looked_ns[look.camera] = now_ns
        if readings:
            self._see(Sight(look.unix_ns, look.camera, min(readings), faces=len(readings)))
        else:
            self._present.pop(look.camera, None)
            self._watchers.add(look.camera)
            self._sights.offer(Sight(look.unix_ns, look.camera, faces=0))
            # Time that another camera has watched counts once.
            self._watched_ns += max(0, now_ns - max(before_ns, self._until_ns, now_ns - MAX_GAP_NS))
        self._until_ns = max(self._until_ns, now_ns)

    def _see(self, sight: Sight) -> None:
        self._seen = self._present[sight.camera] = sight
        self._watched_ns = 0
        self._watchers.clear()
        self._sights = EvenSamples[Sight]()

    def news(self, news: CameraNews) -> None:
        """A camera that does not see does not watch."""
        if news.state != "online":
            self._looked_ns.pop(news.camera, None)
            self._present.pop(news.camera, None)

    def forget(self, camera: str) -> None:
        """What it saw ended when it was disabled."""

    def holds(self) -> bool:
        """Whether nobody was there for long enough."""
        return self._watched_ns >= self._for_ns

    def stays(self) -> bool:
        """Until somebody is in view, and not only at a glimpse."""
        return not self._present

    def found(self) -> Finding:
        """How long nobody was seen."""
        seconds, cameras = self._watched_ns / 1e9, sorted(self._watchers)
        watchers = f"camera {cameras[0]}" if len(cameras) == 1 else f"cameras {', '.join(cameras)}"
        return Finding(
            why=f"nobody was seen in {told_s(seconds)} of watching by {watchers}, alert from {told_s(self.threshold)}",
            value=round(seconds, 1),
            threshold=self.threshold,
            cameras=cameras,
            sights=self._sights.chosen(),
        )

    def gone(self) -> Finding:
        """Who was seen."""
        seen = self._seen
        if seen is None:
            raise ValueError("nobody was seen yet")
        return Finding(
            why=f"face {seen.track} was seen by camera {seen.camera}",
            value=0.0,
            threshold=self.threshold,
            cameras=[seen.camera],
            track=seen.track,
            sights=[seen],
        )


@dataclass(slots=True)
class _Crowd:
    since_ns: int  # more faces than there should be
    now_ns: int
    faces: int = 0
    sights: EvenSamples[Sight] = field(default_factory=EvenSamples[Sight])

    @property
    def seconds(self) -> float:
        return (self.now_ns - self.since_ns) / 1e9


class FacesEvaluator:
    """More faces in a camera's view than there should be, without a break, for a time."""

    unit = "faces"

    def __init__(self, rule: FacesRule, timeline: Timeline) -> None:
        self.threshold: float = rule.max_faces
        self._rule, self._timeline = rule, timeline
        self._crowds: dict[str, _Crowd] = {}  # by camera
        self._newest = ("", 0)  # camera that has no crowd any more, and its faces

    def look(self, look: Look, readings: Mapping[int, Reading]) -> None:
        """Count the open tracks, which outlive a short occlusion."""
        count, now_ns = len(readings), self._timeline.of_look(look)
        if count <= self._rule.max_faces:
            self._disperse(look.camera, count)
            return
        crowd = self._crowds.setdefault(look.camera, _Crowd(now_ns, now_ns))
        crowd.now_ns, crowd.faces = max(crowd.now_ns, now_ns), count
        crowd.sights.offer(Sight(look.unix_ns, look.camera, faces=count))

    def news(self, news: CameraNews) -> None:
        """A camera that does not see sees no crowd."""
        if news.state != "online":
            self._disperse(news.camera, 0)

    def forget(self, camera: str) -> None:
        """What it saw ended when it was disabled."""

    def holds(self) -> bool:
        """On any camera, for long enough."""
        return any(crowd.seconds >= self._rule.for_s for crowd in self._crowds.values())

    def stays(self) -> bool:
        """While any camera sees too many."""
        return bool(self._crowds)

    def found(self) -> Finding:
        """Where it has lasted longest."""
        camera, crowd = max(self._crowds.items(), key=lambda item: item[1].seconds)
        return Finding(
            why=f"{_faces(crowd.faces)} on camera {camera}, more than {self._rule.max_faces} for "
            f"{told_s(crowd.seconds)}, alert from {told_s(self._rule.for_s)}",
            value=crowd.faces,
            threshold=self.threshold,
            cameras=[camera],
            sights=crowd.sights.chosen(),
        )

    def gone(self) -> Finding:
        """How many there are now."""
        camera, count = self._newest
        why = f"{_faces(count)} on camera {camera}, not more than {self._rule.max_faces}"
        return Finding(why=why, value=count, threshold=self.threshold, cameras=[camera])

    def _disperse(self, camera: str, count: int) -> None:
        if self._crowds.pop(camera, None) is not None:
            self._newest = (camera, count)


def _faces(count: int) -> str:
    return "1 face" if count == 1 else f"{count} faces"
