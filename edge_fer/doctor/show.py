"""The findings as a table for people, or as JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

import click

from edge_fer.doctor.finding import RESULTS, Finding, Result

NARROWEST, WIDEST = 60, 140
_COLOURS: dict[Result, str] = {"ok": "green", "skipped": "bright_black", "warning": "yellow", "failed": "red"}
_RESULT_WIDTH = max(map(len, RESULTS))
_GAP = "  "
_LONGEST_NAME = 20
"""Of a check and what it is about; what is longer stands in the text."""

_FEW = 2
"""So many checks that were skipped for one reason have a line each; more share one."""


def as_json(findings: Sequence[Finding]) -> str:
    """A list of {check, about, result, found, cure}, in the order of the checks."""
    keys = ("check", "about", "result", "found", "cure")
    return json.dumps([{key: asdict(finding)[key] for key in keys} for finding in findings], indent=2)


def table(findings: Sequence[Finding], width: int | None = None) -> str:
    """Best first, so that what is wrong stands at the end, where a terminal shows it; and one closing line."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    width = min(max(width, NARROWEST), WIDEST)
    ordered = sorted(_joined(findings), key=lambda finding: RESULTS.index(finding.result))  # else as they came
    named = max((len(_name(finding)) for finding in ordered), default=0)
    lines: list[str] = []
    for number, finding in enumerate(ordered):
        if number and finding.result != ordered[number - 1].result:
            lines.append("")
        lines += _rows(finding, named, width)
    return "\n".join([*lines, "", closing(findings)])


def closing(findings: Sequence[Finding]) -> str:
    """How it stands, in one line."""
    counted = Counter(finding.result for finding in findings)
    wrong, odd = counted["failed"], counted["warning"]
    rest = f"{counted['ok']} ok, {counted['skipped']} skipped"
    if wrong:
        names = ", ".join(dict.fromkeys(finding.check for finding in findings if finding.result == "failed"))
        return click.style(f"{wrong} failed ({names}), {_warnings(odd)}, {rest}.", fg="red", bold=True)
    if odd:
        return click.style(f"It works, with {_warnings(odd)}; {rest}.", fg="yellow", bold=True)
    return click.style(f"All is well: {rest}.", fg="green", bold=True)


def _warnings(count: int) -> str:
    return f"{count} warning{'s' * (count != 1)}"


def _joined(findings: Sequence[Finding]) -> list[Finding]:
    """With one line for all that were skipped for the same reason."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.result == "skipped" and not finding.about:
            reasons.setdefault(finding.found, []).append(finding.check)
    shown = []
    for finding in findings:
        alike = reasons.get(finding.found, []) if finding.result == "skipped" else []
        if len(alike) <= _FEW:
            shown.append(finding)
        elif alike[0] == finding.check:
            text = f"{', '.join(alike)}: {finding.found}"
            shown.append(replace(finding, check=f"({len(alike)} checks)", found=text))
    return shown


def _name(finding: Finding) -> str:
    name = f"{finding.check} {finding.about}".strip()
    return name if len(name) <= _LONGEST_NAME else finding.check


def _text(finding: Finding) -> str:
    told = finding.about in _name(finding)
    return finding.found if told else f"{finding.about}: {finding.found}"


def _rows(finding: Finding, named: int, width: int) -> list[str]:
    indent = " " * (_RESULT_WIDTH + named + 2 * len(_GAP))
    result = click.style(finding.result.ljust(_RESULT_WIDTH), fg=_COLOURS[finding.result])
    text = [line for part in _text(finding).splitlines() for line in _wrapped(part, width - len(indent))]
    rows = [f"{result}{_GAP}{_name(finding).ljust(named)}{_GAP}{text[0] if text else ''}"]
    rows += [f"{indent}{line}" for line in text[1:]]
    if finding.cure:
        cure = _wrapped(f"-> {finding.cure}", width - len(indent), hanging="   ")
        rows += [f"{indent}{_cure_style(line, finding.result)}" for line in cure]
    return rows


def _cure_style(line: str, result: Result) -> str:
    return click.style(line, bold=True) if result == "failed" else line


def _wrapped(text: str, width: int, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=hanging, break_on_hyphens=False) or [""]
