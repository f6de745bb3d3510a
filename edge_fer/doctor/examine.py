"""All checks: one that breaks, or that does not come back, never hides another."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edge_fer.doctor.apart import Apart
from edge_fer.doctor.finding import Finding, failed, ok, skipped
from edge_fer.doctor.patient import Patient, Place
from edge_fer.errors import EdgeFerError
from edge_fer.privacy import hide_password

log = logging.getLogger(__name__)

SLOW_S = 60.0
"""For the checks that the others wait for: they end by themselves."""

CONFIG_MODULE = "edge_fer.config"


class Check(NamedTuple):
    """One kind of question; its code stands in docs/doctor.md."""

    code: str
    where: str  # module and function below this package; imported only when it is run
    limit_s: float = 6.0
    needs: tuple[str, ...] = ()  # modules that must import in this process


CONFIGURATION = "configuration"

FIRST = (
    Check("python", "software.check_python"),
    Check("packages", "software.check_packages", SLOW_S),
    Check("runtime", "software.check_runtime", SLOW_S),
)
"""One after the other: what they find decides what may be imported here."""

TOGETHER = (
    Check("inference", "software.check_inference", SLOW_S),
    Check("devices", "cameras.check_devices", needs=(CONFIG_MODULE,)),
    Check("camera", "cameras.check_cameras", 30.0, needs=(CONFIG_MODULE,)),
    Check("broker", "broker.check_broker", 20.0, needs=(CONFIG_MODULE, "paho.mqtt.client")),
    Check("certificates", "certificates.check_certificates", 15.0, needs=(CONFIG_MODULE,)),
    Check("clock", "board.check_clock"),
    Check("state-folder", "storage.check_state_folder", 10.0, needs=("pydantic",)),
    Check("memory", "board.check_memory", needs=("psutil",)),
    Check("sensors", "board.check_sensors", 10.0),
    Check("throttling", "board.check_throttling", 10.0),
    Check("power-mode", "board.check_power_mode", 10.0),
    Check("governor", "board.check_governor", 10.0, needs=(CONFIG_MODULE,)),
    Check("unit", "unit.check_unit", 8.0),
    Check("encryption", "exposure.check_encryption", needs=(CONFIG_MODULE,)),
    Check("secret-files", "exposure.check_secret_files", needs=(CONFIG_MODULE,)),
    Check("metrics", "exposure.check_metrics", needs=(CONFIG_MODULE,)),
    Check("commands", "exposure.check_commands", needs=(CONFIG_MODULE,)),
    Check("recording", "exposure.check_recording", needs=("pydantic", "psutil")),
)

CODES = (*(check.code for check in FIRST), CONFIGURATION, *(check.code for check in TOGETHER))

OF_CONFIG = frozenset(
    {"camera", "broker", "certificates", "governor", "encryption", "secret-files", "metrics", "commands"}
)
"""Checks that have nothing to look at without a configuration."""


def examine(place: Place, config_file: Path | None = None) -> list[Finding]:
    """Everything that is found, in the order of CODES; raises nothing."""
    patient = Patient(place, config_file)
    found = [finding for check in FIRST for finding in run(check, patient)]
    found += [dataclasses.replace(finding, check=CONFIGURATION) for finding in _read_config(patient)]
    began_s = time.monotonic()
    running = [(check, Apart(partial(run, check, patient), check.code)) for check in TOGETHER]
    for check, work in running:
        found += _in_time(check, work, began_s, check.limit_s * place.patience)
    return [_without_secrets(finding) for finding in found]


def run(check: Check, patient: Patient) -> list[Finding]:
    """What a check finds, or why it could not look; raises nothing."""
    try:
        found = _look(check, patient)
    except Exception as err:
        log.debug("check %s", check.code, exc_info=True)
        name, text = type(err).__name__, str(err)
        told = text if isinstance(err, EdgeFerError) else f"this check itself failed ({name}: {text})"
        cure = "" if isinstance(err, EdgeFerError) else "please report it, with what edge-fer doctor -v says"
        found = [failed(told, cure)]
    return [dataclasses.replace(finding, check=check.code) for finding in found]


def _in_time(check: Check, work: Apart[list[Finding]], began_s: float, limit_s: float) -> list[Finding]:
    try:
        return work.result(began_s + limit_s - time.monotonic())
    except TimeoutError:
        told = failed(f"no answer within {limit_s:g} s", "is the machine overloaded, or a device stuck?")
        return [dataclasses.replace(told, check=check.code)]


def _look(check: Check, patient: Patient) -> Sequence[Finding]:
    if missing := [module for module in check.needs if module in patient.broken]:
        return [skipped(f"needs {', '.join(missing)}, which does not import")]
    if check.code in OF_CONFIG and patient.config is None:
        given = patient.config_file is not None
        return [skipped("the configuration is wrong" if given else "no configuration: give --config FILE")]
    module, _, function = check.where.partition(".")
    found: Sequence[Finding] = getattr(importlib.import_module(f"edge_fer.doctor.{module}"), function)(patient)
    return found


def _read_config(patient: Patient) -> list[Finding]:
    if patient.config_file is None:
        return [
            skipped("none was given", cure="edge-fer doctor --config FILE looks at cameras, broker and privacy too")
        ]
    if CONFIG_MODULE in patient.broken:
        return [skipped(f"needs {CONFIG_MODULE}, which does not import")]
    try:
        from edge_fer.config import load_config

        patient.config = load_config(patient.config_file, {})
    except EdgeFerError as err:
        lines = [line.removeprefix(f"{patient.config_file}: ") for line in str(err).splitlines()]
        return [
            failed("\n".join([f"{patient.config_file}:", *lines] if len(lines) > 1 else [str(err)]), "correct the file")
        ]
    except Exception as err:
        log.debug("configuration", exc_info=True)
        return [failed(f"cannot be read ({type(err).__name__}: {err})", "please report it, with this file")]
    config = patient.config
    cameras = f"{len(config.camera)} camera{'s' * (len(config.camera) > 1)}"
    return [ok(f"{patient.config_file} is right: node {config.node}, {cameras}")]


def _without_secrets(finding: Finding) -> Finding:
    return dataclasses.replace(finding, found=hide_password(finding.found), cure=hide_password(finding.cure))
