"""All rules together: observations in, alerts out. Pure: time comes with the observations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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


class RuleChange(NamedTuple):
    """What other rules lead to."""

    alerts: list[Alert]
    removed: list[str]  # names of rules that are no more


class RuleEngine:
    """Evaluates every rule on what the cameras see. One thread only."""

    def __init__(self, rules: Mapping[str, Rule], cameras: Sequence[str], boot_id: str = "") -> None:
        """The rules must have passed `check_cameras`."""
        self._boot_id = boot_id
        self._seq = 0  # of alerts raised or cleared
        self._timeline = Timeline()
        self._news: dict[str, CameraNews] = {}  # the newest of each camera, for rules that come later
        self._lines = [self._line(name, rule, cameras) for name, rule in rules.items()]

    def use(self, rules: Mapping[str, Rule], cameras: Sequence[str], unix_ns: int) -> RuleChange:
        """Evaluate these rules from now on; one that is the same goes on, with what it has seen and said."""
        before = {line.name: line for line in self._lines}
        alerts: list[Alert] = []
        lines: list[_Line] = []
        for name, rule in rules.items():
            line = before.get(name)
            if line is not None and line.rule == rule:
                line.cameras = frozenset(rule.cameras or cameras)
                lines.append(line)
                continue
            if line is not None:
                alerts += self._withdrawn(line, "the rule was changed", unix_ns)
            lines.append(self._line(name, rule, cameras))
            alerts.append(self._cleared(lines[-1], "nothing found yet", unix_ns))
        removed = [line for line in self._lines if line.name not in rules]
        for line in removed:
            alerts += self._withdrawn(line, "the rule was removed from the configuration", unix_ns)
        self._lines = lines
        return RuleChange(alerts, [line.name for line in removed])

    def remove_camera(self, news: CameraNews) -> list[Alert]:
        """The camera is gone from the configuration; `news` say that it is disabled."""
        alerts = self.news(news)
        for line in self._lines:
            line.evaluator.forget(news.camera)
            line.cameras -= {news.camera}
        self._timeline.forget(news.camera)
        del self._news[news.camera]
        return alerts

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
        self._news[news.camera] = news
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
        return [self._numbered(self._cleared(line, why, unix_ns)) for line in active]

    def _line(self, name: str, rule: Rule, cameras: Sequence[str]) -> _Line:
        line = _Line(
            name,
            rule,
            frozenset(rule.cameras or cameras),
            _evaluator(rule, self._timeline),
            Latch(rule.quiet_hours, clear_after_s=rule.clear_after_s, cooldown_s=rule.cooldown_s),
        )
        for news in self._news.values():
            if news.camera in line.cameras:
                line.evaluator.news(news)
        return line

    def _withdrawn(self, line: _Line, why: str, unix_ns: int) -> list[Alert]:
        """Cleared, if it is active, because the rule is no more."""
        return [self._numbered(self._cleared(line, why, unix_ns))] if line.latch.active else []

    def _changed(self, unix_ns: int) -> Iterator[Alert]:
        for line in self._lines:
            waited = line.latch.waited
            became = line.latch.update(
                self._timeline.now_ns, unix_ns, holds=line.evaluator.holds(), stays=line.evaluator.stays()
            )
            if became == "active":
                line.alert = self._numbered(self._alert(line, became, line.evaluator.found(), unix_ns, quiet=waited))
                yield line.alert
            elif became == "cleared":
                yield self._numbered(self._alert(line, became, line.evaluator.gone(), unix_ns))

    def _numbered(self, alert: Alert) -> Alert:
        """As one of the node's history; what a rule begins with is none."""
        self._seq += 1
        return replace(alert, id=f"{self._boot_id}-alert-{self._seq}", seq=self._seq)

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
