"""Patients with a configuration of their own, on a machine that is a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_fer.config import load_config
from edge_fer.doctor.patient import Patient, Place
from edge_fer.sensors.machine import Machine

CAMERA = '[camera.front]\nuri = "sample:"\n'


@pytest.fixture
def make_patient(open_folder: Path, tmp_path: Path) -> Callable[..., Patient]:
    """From the text of a configuration (None: without one); the rest is for Place."""

    def make(text: str | None = "", *, mode: int = 0o640, **place: Any) -> Patient:
        (tmp_path / "programs").mkdir(exist_ok=True)
        place = {"machine": Machine(tmp_path / "root", str(tmp_path / "programs")), "dev": tmp_path / "dev", **place}
        environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        place.setdefault("environ", environ)
        if text is None:
            return Patient(Place(**place))
        file = open_folder / "node.toml"
        cameras = "" if "[camera." in text else CAMERA
        file.write_text(f'state_dir = "{tmp_path / "state"}"\n{text}\n{cameras}')
        file.chmod(mode)
        patient = Patient(Place(**place), file)
        patient.config = load_config(file, {})
        return patient

    return make


@pytest.fixture
def make_program(tmp_path: Path) -> Callable[[str, str], Path]:
    """A program of the machine, by its shell script."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make
