"""All rules together: observations in, alerts out. Pure: time comes with the observations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_fer.decide import Reading
from edge_fer.events import Alert, AlertState, rfc3339
from edge_fer.look import CameraNews, Look, Tick
from edge_fer.rules.evaluator import Evaluator, Finding, Timeline
from edge_fer.rules.expression import ExpressionEvaluator
from edge_fer.rules.latch import Latch
from edge_fer.rules.outage import CameraEvaluator
from edge_fer.rules.presence import FacesEvaluator, NobodyEvaluator
from edge_fer.rules.settings import CommonKeys, ExpressionRule, FacesRule, NobodyRule, Rule


@dataclass(slots=True)
class _Line:
    """One rule at work."""

    name: str
    rule: CommonKeys
    cameras: frozenset[str]
    evaluator: Evaluator
    latch: Latch
    alert: Alert | None = None  # the newest that became active


class RuleEngine:
    """Evaluates every rule on what the cameras see. One thread only."""

    def __init__(self, rules: Mapping[str, Rule], cameras: Sequence[str], boot_id: str = "") -> None:
        """The rules must have passed `check_cameras`."""
        self._boot_id = boot_id
        self._timeline = Timeline()
        self._lines = [
            _Line(
                name,
                rule,
                frozenset(rule.cameras or cameras),
                _evaluator(rule, self._timeline),
                Latch(rule.quiet_hours, clear_after_s=rule.clear_after_s, cooldown_s=rule.cooldown_s),
            )
            for name, rule in rules.items()
        ]

    def look(self, look: Look, readings: Mapping[int, Reading]) -> list[Alert]:
        """Take a look of a camera that sees, with what its open tracks read."""
        self._timeline.take_look(look)
        for line in self._lines:
            if look.camera in line.cameras:
                line.evaluator.look(look, readings)
        return list(self._changed(look.unix_ns))

    def news(self, news: CameraNews) -> list[Alert]:
        """Take a change of a camera."""
        self._timeline.take_clock(news.time_ns)
        for line in self._lines:
            if news.camera in line.cameras:
                line.evaluator.news(news)
        return list(self._changed(news.unix_ns))

    def tick(self, tick: Tick) -> list[Alert]:
        """Time has passed: for what is found when nothing arrives."""
        self._timeline.take_clock(tick.time_ns)
        return list(self._changed(tick.unix_ns))

    def initial(self, unix_ns: int) -> list[Alert]:
        """Each rule as nothing found yet: overwrites what an earlier run left retained."""
        return [self._cleared(line, "nothing found yet", unix_ns) for line in self._lines]

    def clear_all(self, why: str, unix_ns: int) -> list[Alert]:
        """Clear what is active, for a reason that is not in what was seen."""
        active = [line for line in self._lines if line.latch.active]
        for line in active:
            line.latch.clear()
        return [self._cleared(line, why, unix_ns) for line in active]

    def _changed(self, unix_ns: int) -> Iterator[Alert]:
        for line in self._lines:
            waited = line.latch.waited
            became = line.latch.update(
                self._timeline.now_ns, unix_ns, holds=line.evaluator.holds(), stays=line.evaluator.stays()
            )
            if became == "active":
                line.alert = self._alert(line, became, line.evaluator.found(), unix_ns, quiet=waited)
                yield line.alert
            elif became == "cleared":
                yield self._alert(line, became, line.evaluator.gone(), unix_ns)

    def _cleared(self, line: _Line, why: str, unix_ns: int) -> Alert:
        """Cleared without a measurement; about the same as the alert was, if there was one."""
        cameras = line.alert.cameras if line.alert else sorted(line.cameras)
        track = line.alert.track if line.alert else None
        finding = Finding(why=why, value=0.0, threshold=line.evaluator.threshold, cameras=cameras, track=track)
        return self._alert(line, "cleared", finding, unix_ns)

    def _alert(self, line: _Line, state: AlertState, finding: Finding, unix_ns: int, *, quiet: bool = False) -> Alert:
        return Alert(
            rule=line.name,
            state=state,
            why=finding.why,
            value=finding.value,
            threshold=finding.threshold,
            unit=line.evaluator.unit,
            cameras=list(finding.cameras),
            track=finding.track,
            samples=[sight.shown() for sight in finding.sights],
            since=rfc3339(unix_ns),
            quiet=quiet,
            text=line.rule.text,
            boot_id=self._boot_id,
        )


def _evaluator(rule: Rule, timeline: Timeline) -> Evaluator:
    if isinstance(rule, ExpressionRule):
        return ExpressionEvaluator(rule)
    if isinstance(rule, NobodyRule):
        return NobodyEvaluator(rule, timeline)
    if isinstance(rule, FacesRule):
        return FacesEvaluator(rule, timeline)
    return CameraEvaluator(rule, timeline)
