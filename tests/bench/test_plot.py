from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from diagnoses import (
    BASELINE,
    diagnosis,
    mode,
    of_several_modes,
    row,
    rows,
    speed,
    with_watts_and_a_mode,
    without_anything,
)

from edge_fer.bench.bars import groups, number, times_faster
from edge_fer.bench.figures import Diagnosis
from edge_fer.bench.page import page
from edge_fer.bench.picture import headline, notes
from edge_fer.bench.plot import draw
from edge_fer.bench.reported import REPORTED
from edge_fer.bench.summary import fastest
from edge_fer.errors import UsageError

FOUND = (with_watts_and_a_mode(), without_anything(), of_several_modes())
STORIES = pytest.mark.parametrize("found", FOUND)


def test_each_runtime_is_shown_at_its_best_number_of_threads() -> None:
    nano_b, nano_a = groups(with_watts_and_a_mode())
    assert [bar.label for bar in nano_b.bars] == [
        "LiteRT int8, 2 threads",
        "tflite-runtime float32, 2 threads",
        "LiteRT float32, 2 threads",
        "TensorFlow graph mode, 2 threads",
        "Keras predict, 2 threads",
        "Paper: Jetson AGX Xavier, 15W",
        "Paper: Jetson AGX Xavier, 30W",
    ]
    assert not [bar for bar in nano_a.bars if bar.kind == "baseline"]  # it was measured of Nano-B only


def test_images_per_watt_are_over_the_nominal_budget_and_over_measured_watts_apart() -> None:
    best = groups(with_watts_and_a_mode())[0].bars[0]
    # 12,500 images in 10 s; over 15 W of the mode's name 83.33; over 9.1 + 0.6 W measured 128.87.
    assert best.fps == 1250
    assert best.fps_per_nominal_w == pytest.approx(83.333, abs=1e-3)
    assert best.fps_per_measured_w == pytest.approx(128.866, abs=1e-3)


def test_the_ratio_to_tensorflow_is_of_median_wall_times() -> None:
    best = fastest(with_watts_and_a_mode().modes[0].rows)
    assert best
    assert times_faster(best, BASELINE[1]) == pytest.approx(14.0 / 0.8)
    graph = groups(with_watts_and_a_mode())[0].bars[3]
    assert graph.detail == "p50 14 ms: 17.5 times slower"


def test_of_several_modes_the_fastest_row_of_each_is_shown() -> None:
    nano_b = groups(of_several_modes())[0]
    measured = [bar for bar in nano_b.bars if bar.kind == "measured"]
    assert [bar.label.partition(":")[0] for bar in measured] == ["1 MODE_10W", "2 MODE_15W", "3 MODE_30W_ALL", "0 MAXN"]
    assert measured[3].fps_per_nominal_w is None  # MAXN has no budget
    assert headline(of_several_modes()) == "NVIDIA Jetson AGX Xavier: 3,125 faces read per second"


def test_what_the_paper_reports_is_only_shown_of_measured_networks_and_never_as_measured_watts() -> None:
    (nano_b,) = groups(without_anything())
    reported = [bar for bar in nano_b.bars if bar.kind == "reported"]
    assert [bar.fps_per_nominal_w for bar in reported] == [2.19, 2.43]
    assert [bar.fps_per_measured_w for bar in reported] == [None, None]


def test_the_paper_divides_by_the_nominal_budget() -> None:
    for reported in REPORTED:
        # Two decimals are printed there.
        assert reported.fps / reported.budget_w == pytest.approx(reported.fps_per_nominal_w, abs=0.006)


def test_a_disturbed_run_is_told() -> None:
    assert groups(without_anything())[0].bars[0].detail.endswith("- disturbed")
    assert "Disturbed, this machine may be faster: other programs used 40 % of a core." in notes(without_anything())
    assert "No watts were measured: this board has no power sensor." in notes(without_anything())


@pytest.mark.parametrize(
    ("value", "text"), [(0.8765, "0.876"), (25.8, "25.8"), (99.96, "100"), (2853.6, "2,854"), (0, "0")]
)
def test_numbers_have_three_figures_that_count(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("found", "ending"),
    [
        *((found, ending) for found in FOUND for ending in (".png", ".svg", ".html")),
        (FOUND[0], ".PNG"),
    ],
)
def test_pictures_are_written_whole_and_nothing_else_is_left(found: Diagnosis, ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    path = tmp_path / f"speed{ending}"
    path.write_text("of the last run")
    draw(found, path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if ending.lower() == ".png":
        height, width, _ = cv2.imread(str(path)).shape
        assert width == 1920
        assert 500 < height < 1500
    elif ending == ".svg":
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - written one line above


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object"}:
            self.loaded.append(tag)
        self.loaded += [
            value or "" for name, value in attrs if name in {"src", "href"} and not (value or "").startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


@STORIES
def test_a_page_loads_nothing_and_knows_no_fixed_colours_of_its_picture(found: Diagnosis) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    text = page(found)
    links = _Links()
    links.feed(text)
    # The names of XML parts of an SVG are not loaded.
    assert [link for link in links.loaded if link] == []
    picture = text[text.index("<svg") : text.index("</svg>")]
    assert set(re.findall(r"#[0-9a-f]{6}\b", picture)) <= {"#000000"}  # a clipping path's, which is not painted
    assert "prefers-color-scheme: dark" in text


def test_a_page_has_every_row_and_escapes_what_boards_are_called() -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    found = diagnosis(mode(rows(1.0, 15.0, 9.1), "2 MODE_15W", 15.0), board="<b>$board$</b>", baseline=BASELINE)
    links = _Links()
    text = page(found)
    links.feed(text)
    assert "<b>" not in text
    # Joules per image: 9.7 W for 10 s over 12,500 images = 0.00776; marginal watts: 9.7 - 6.
    assert {"1,250", "83.3", "9.7", "3.7", "0.00776", "55.2"} <= set(links.cells)
    assert "Keras 3.15.1" in links.cells


def test_a_page_has_the_watts_of_the_pipeline_too() -> None:
    """10 ms a frame at 14 W: 140 mJ, 8 W above the floor."""
    (clip,) = mode(rows()).pipeline
    text = page(diagnosis(mode(rows(), pipeline=(replace(clip, speed=speed(10.0, watts=14.0)),))))
    assert "<td>100</td><td>10</td><td>11</td><td>13</td><td>10</td><td>14</td><td>8</td><td>0.14</td>" in text


def test_nothing_measured_is_a_picture_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    draw(diagnosis(mode(())), tmp_path / "speed.png")
    assert cv2.imread(str(tmp_path / "speed.png")).shape[1] == 1920


def test_a_row_without_watts_beside_one_with_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    found = (
        row("nano_b", "int8", "litert", 1, speed(1.0, watts=8.0)),
        row("nano_b", "float32", "litert", 1, speed(3.0)),
    )
    assert [bar.fps_per_measured_w for bar in groups(diagnosis(mode(found)))[0].bars[:2]] == [125.0, None]
    draw(diagnosis(mode(found)), tmp_path / "speed.svg")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("speed.jpg", "ends in '.jpg', but pictures end in .png, .svg or .html"),
        ("speed", "has no ending, but pictures end in"),
        ("missing/speed.png", "there is no folder"),
        ("folder.png", "that is a folder"),
    ],
)
def test_a_path_that_cannot_be_drawn_to_is_a_usage_error(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=re.escape(told)):
        draw(without_anything(), tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.modules['matplotlib'] = None\n"  # as where it is not installed
        "from edge_fer.bench.plot import check_path; from edge_fer.errors import UnavailableError\n"
        "try: check_path(pathlib.Path(sys.argv[1]))\n"
        "except UnavailableError as err: print(err)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "speed.png")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "--plot needs matplotlib: pip install 'edge-fer[bench]'\n"


def test_of_several_modes_tensorflow_has_no_ratio_as_its_mode_is_not_known() -> None:
    graph = next(bar for bar in groups(of_several_modes())[0].bars if bar.kind == "baseline")
    assert graph.detail == "p50 14 ms"


def test_tensorflow_is_compared_on_as_many_threads() -> None:
    faster_alone = (replace(BASELINE[0], p50_ms=5.0), BASELINE[1])  # one thread, then the two of the fastest row
    found = diagnosis(mode(rows(1.0, 15.0), "2 MODE_15W", 15.0), baseline=faster_alone)
    graph = next(bar for bar in groups(found)[0].bars if bar.kind == "baseline")
    assert graph.detail == "p50 14 ms: 17.5 times slower"
