"""What "auto" means, with and without a tuning, and when one does not hold any more."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from fixture import BOARD_KEYS, board_tree
from tunings import BOARD, tuned

from edge_fer.card import card_path
from edge_fer.classify import model_path
from edge_fer.config import ModelSettings
from edge_fer.tracking.search import DetectorSettings
from edge_fer.tune.basis import Basis, read_basis
from edge_fer.tune.resolve import Choice, Choices, resolve, staleness
from edge_fer.tune.tuned import TUNED_FILE, write_tuned

PLAIN = Choice("auto", "auto", 1)


def resolved(folder: Path, basis: Basis = BOARD, detector: DetectorSettings | None = None, **model: Any) -> Choices:
    return resolve(ModelSettings(**model), detector or DetectorSettings(), folder, lambda: basis)


def test_without_a_tuning_the_defaults_hold_and_the_log_names_the_command(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    assert (found.network, found.detector, found.tuned) == (PLAIN, PLAIN, False)
    assert found.told == f"not tuned on this board (no {tmp_path / TUNED_FILE}): edge-fer tune"
    assert found.level == logging.INFO


def test_a_tuning_says_what_auto_is(tmp_path: Path) -> None:
    write_tuned(tmp_path, tuned())
    found = resolved(tmp_path)
    assert found.network == Choice("litert", "int8", 2)
    assert found.detector == Choice("litert", "auto", 1)
    assert (
        found.told == "tuned on 2026-03-01 for speed: nano_b on litert int8, 2 threads; full+short on litert, 1 thread"
    )
    assert (found.level, found.tuned) == (logging.INFO, True)


@pytest.mark.parametrize(
    ("pins", "network", "detector"),
    [
        ({"threads": 1}, Choice("litert", "int8", 1), Choice("litert", "auto", 1)),
        ({"threads": 2}, Choice("litert", "int8", 2), Choice("litert", "auto", 2)),
        ({"runtime": "tflite-runtime"}, Choice("tflite-runtime", "float32", 1), Choice("tflite-runtime", "auto", 1)),
        # Then the process has tflite-runtime in memory in any case, and the detectors are as quick on it.
        ({"precision": "float32"}, Choice("tflite-runtime", "float32", 1), Choice("tflite-runtime", "auto", 1)),
        # Nobody has measured eight threads: what stands in the file is obeyed, the rest as without a tuning.
        ({"threads": 8}, Choice("auto", "auto", 8), Choice("auto", "auto", 8)),
    ],
)
def test_what_the_configuration_names_is_obeyed(
    tmp_path: Path, pins: dict[str, Any], network: Choice, detector: Choice
) -> None:
    write_tuned(tmp_path, tuned())
    found = resolved(tmp_path, **pins)
    assert (found.network, found.detector) == (network, detector)


def test_a_configuration_that_names_everything_asks_for_no_tuning(tmp_path: Path) -> None:
    (tmp_path / TUNED_FILE).write_text("damaged")
    found = resolved(tmp_path, runtime="litert", precision="int8", threads=3)
    assert (found.network, found.told) == (Choice("litert", "int8", 3), "")


@pytest.mark.parametrize("content", ["", "{", '{"format": 7}', "[]"])
def test_a_damaged_tuning_is_told_and_never_a_crash(tmp_path: Path, content: str) -> None:
    (tmp_path / TUNED_FILE).write_text(content)
    found = resolved(tmp_path)
    assert (found.network, found.detector, found.level) == (PLAIN, PLAIN, logging.WARNING)
    assert found.told.startswith(f"the tuning is ignored: {tmp_path / TUNED_FILE}: damaged")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"board": "Raspberry Pi 4 Model B"}, "board: was Raspberry Pi 5 Model B, is Raspberry Pi 4 Model B"),
        ({"processor": "Cortex-A72"}, "processor: was Cortex-A76, is Cortex-A72"),
        ({"cores": 2}, "cores: was 4, is 2"),
        ({"python": "3.12.1"}, "Python: was 3.11.7, is 3.12.1"),
        ({"packages": {"ai-edge-litert": "2.4.0", "numpy": "1.26.4"}}, "ai-edge-litert: was 2.3.0, is 2.4.0"),
        ({"packages": {"numpy": "1.26.4"}}, "ai-edge-litert: was 2.3.0, is missing"),
        (
            {"packages": {**BOARD.packages, "tflite-runtime": "2.14.0"}},
            "tflite-runtime: was missing, is 2.14.0",
        ),
    ],
)
def test_another_board_or_other_software_makes_it_stale(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    write_tuned(tmp_path, tuned())
    found = resolved(tmp_path, BOARD.model_copy(update=change))
    assert (found.network, found.level) == (PLAIN, logging.WARNING)
    assert found.told == f"the tuning of 2026-03-01 is stale ({told}): edge-fer tune"


@pytest.mark.parametrize(
    ("model", "detector", "told"),
    [
        ({"network": "nano_a"}, {}, "made for nano_b, configured is nano_a"),
        ({}, {"model": "back"}, "made for full+short, configured is back+short"),
        ({}, {"min_face_px": 30}, "made for full+short, configured is short+full+back"),
    ],
)
def test_other_networks_make_it_stale(model: dict[str, Any], detector: dict[str, Any], told: str) -> None:
    assert staleness(tuned(), ModelSettings(**model), DetectorSettings(**detector), BOARD) == [told]


def test_a_model_file_that_was_replaced_makes_it_stale(tmp_path: Path) -> None:
    own = Path(shutil.copy(model_path("nano_b", "float32"), tmp_path / "own.tflite"))
    shutil.copy(card_path(model_path("nano_b", "float32")), tmp_path / "own.json")
    settings, search = ModelSettings(path=own), DetectorSettings()
    before = tuned(settings)
    assert before.network.name == "own.tflite"
    assert staleness(before, settings, search, BOARD) == []
    own.write_bytes(own.read_bytes() + b"\0")
    assert staleness(before, settings, search, BOARD) == ["own.tflite is another file"]
    own.unlink()
    assert staleness(before, settings, search, BOARD) == ["own.tflite is another file"]


def test_doubts_are_told_with_the_choice(tmp_path: Path) -> None:
    write_tuned(tmp_path, tuned(doubts=("the board was held back (throttled) in 6 of 6 rounds",)))
    assert resolved(tmp_path).told.endswith(
        "1 thread (with a doubt: the board was held back (throttled) in 6 of 6 rounds)"
    )


@pytest.mark.parametrize("key", BOARD_KEYS)
def test_every_board_has_a_basis_of_its_own(tmp_path: Path, key: str) -> None:
    found = read_basis(board_tree(key, tmp_path))
    assert found.board
    assert found.processor
    other = read_basis(board_tree("jetson-nano" if key != "jetson-nano" else "jetson-agx-orin", tmp_path / "other"))
    assert found.changes(other)[0].startswith("board: was ")


def test_this_machine_has_a_basis_that_stays_the_same() -> None:
    first, second = read_basis(), read_basis()
    assert first == second
    assert first.changes(second) == []
    assert first.board
    assert first.processor
    assert first.cores >= 1
    assert "numpy" in first.packages
