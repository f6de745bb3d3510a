"""Asks a release, before it is switched on, whether it can run here: as the daemon's user, with its configuration."""

import json
from typing import Any, List, Mapping

from deploy.release.errors import ConfigError, ReleaseError
from deploy.release.layout import USER
from deploy.release.settings import place, remove_trial
from deploy.release.work import Work

REFUSING = ("python", "packages", "runtime", "inference", "configuration")
"""Checks of `edge-fer doctor` without which the daemon cannot run; others depend on what is attached today."""

PATIENCE = "10"
"""A release that was just written comes from the card for the first time, on a board that runs another one."""

DOCTOR_S = 900.0
CHECK_S = 180.0


def examine(work: Work, name: str, config: bytes, called: str) -> None:
    """Run doctor, with a real inference; tell its warnings. ReleaseError (ConfigError) where it cannot run.

    `called` is what the configuration is called in messages.
    """
    work.told.step("doctor", "looks at this board, and tries the networks ...")
    place(work, work.layout.config_trial, config)
    try:
        words = ["doctor", "--config", str(work.layout.config_trial), "--json", "--patience", PATIENCE]
        done = work.host.run_as(USER, [str(work.layout.launcher(name)), *words], _environ(work), DOCTOR_S)
    finally:
        remove_trial(work)
    try:
        findings = [dict(finding) for finding in json.loads(done.out)]
    except (ValueError, TypeError):
        raise ReleaseError(f"{name} does not run on this board: {_named(work, done.last, called)}") from None
    refusals = [each for each in findings if each["result"] == "failed" and each["check"] in REFUSING]
    for each in findings:
        if each["result"] in ("failed", "warning") and each not in refusals:
            work.told.warning(_told(work, each, called))
    if refusals:
        kind = ConfigError if any(each["check"] == "configuration" for each in refusals) else ReleaseError
        lines = "\n".join(_told(work, each, called) for each in refusals)
        raise kind(f"{name} cannot run on this board, and is not switched on:\n{lines}")
    good = sum(each["result"] == "ok" for each in findings)
    work.told.step("doctor", f"{good} of {len(findings)} checks are good, the networks run")


def check_config(work: Work, name: str, config: bytes, called: str, cure: str) -> None:
    """Whether a release takes a configuration; ConfigError with its own words, and the cure, where it does not."""
    place(work, work.layout.config_trial, config)
    try:
        words = [str(work.layout.launcher(name)), "check-config", str(work.layout.config_trial)]
        done = work.host.run_as(USER, words, _environ(work), CHECK_S)
    finally:
        remove_trial(work)
    if done.code:
        said = _named(work, (done.err or done.out).strip() or done.last, called)
        raise ConfigError(f"{name} does not take the configuration:\n{said}\n{cure}")


def _environ(work: Work) -> Mapping[str, str]:
    """What the daemon has, as far as it matters."""
    return {"HOME": str(work.layout.data), "STATE_DIRECTORY": str(work.layout.data), "LANG": "C.UTF-8"}


def _told(work: Work, finding: Mapping[str, Any], called: str) -> str:
    name = f"{finding['check']} {finding.get('about') or ''}".strip()
    lines: List[str] = [f"{name}: {finding['found']}"]
    if finding.get("cure"):
        lines.append(f"  -> {finding['cure']}")
    return _named(work, "\n".join(lines), called)


def _named(work: Work, text: str, called: str) -> str:
    """The trial is the configuration under another name."""
    return text.replace(str(work.layout.config_trial), called)
