"""What the paper of EmotionNet Nano says about speed: printed beside measurements, never mixed with them."""

from __future__ import annotations

from edge_fer.bench.figures import ReportedRow

PAPER = (
    'Lee, Wang, Wong, "EmotionNet Nano", Frontiers in AI 3, 2021, doi 10.3389/frai.2020.609673; '
    "images/s/W there is FPS over the mode's nominal budget"
)
"""Quoted from summaries of the paper's table; its text was not at hand. None of it was measured again."""

BOARD = "Jetson AGX Xavier"

REPORTED: tuple[ReportedRow, ...] = (
    ReportedRow("nano_a", BOARD, "15W", 15.0, 25.8, 1.72, PAPER),
    ReportedRow("nano_a", BOARD, "30W", 30.0, 70.1, 2.34, PAPER),
    ReportedRow("nano_b", BOARD, "15W", 15.0, 32.9, 2.19, PAPER),
    ReportedRow("nano_b", BOARD, "30W", 30.0, 72.9, 2.43, PAPER),
)
"""Networks of the same name have 2 to 4 % other parameters here: their layers are a reconstruction."""
