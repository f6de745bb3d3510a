import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner

from converter.commands.report import report as report_command
from converter.data import LabelledSet
from converter.evaluate import coverage, set_report
from converter.report.figures import Share, differences, earlier_uses, point_figures
from converter.report.words import headline_section, summary_header
from converter.report.write import Run, build_report, write_report
from converter.robust import KINDS, PERTURBATIONS, RECROPPED
from edge_fer.card import ModelCard, OperatingPoint
from edge_fer.classify import MODELS, calibrated
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import XnnpackShare

RUN = Run(
    model="fake.tflite",
    data="faces.npz",
    data_sha256="ab" * 32,
    images=320,
    runtime="litert 2.3.0",
    machine="x86_64",
    xnnpack=XnnpackShare(39, 39),
)


def point(classes: int, bend: float = 0.0, **changes: Any) -> OperatingPoint:
    """An operating point that prefers the last label by `bend`."""
    offset = (0.0,) * (classes - 1) + (bend,)
    return OperatingPoint(
        **{"prior": None, "offset": offset, "temperature": 0.7, "min_confidence": 0.45, **changes},
    )


def card_of(labels: tuple[str, ...], points: dict[str, OperatingPoint], **changes: Any) -> ModelCard:
    known: dict[str, Any] = {
        "name": "fake",
        "description": "A fake.",
        "sha256": "cd" * 32,
        "labels": labels,
        "input_px": 48,
        "input_channels": 1,
        "input_scaling": "-1..1",
        "output": "logits",
        "precision": "int8",
        "parameters": 1234,
        "macs": 5_600_000,
        "operators": 39,
        "size_bytes": 7890,
        "training_prior": None,
        "operating_points": points,
        "default_operating_point": next(iter(points)),
        "metrics": {},
        "training_data": "Drawn.",
        "recipe": {"epochs": 3, "augment": {"gamma": 1.6}, "training": {"inputs": {"validation set": RUN.data_sha256}}},
        "intended_use": "Tests.",
        "limits": "Knows nothing.",
        "credits": "Nobody.",
    }
    return ModelCard(**{**known, **changes})


def drawn(classes: int, count: int = 320) -> tuple[np.ndarray, LabelledSet]:
    """Logits that are often right, every tenth face without a majority; the last label only has five clear faces."""
    rng = np.random.default_rng(5)
    labels = np.arange(count) % (classes - 1)
    labels[:6] = classes - 1
    majority = np.arange(count) % 10 != 5
    outputs = rng.normal(0, 1, (count, classes)).astype(np.float32)
    outputs[np.arange(count), labels] += 2
    return outputs, LabelledSet(np.zeros((count, 48, 48), np.uint8), labels, majority)


THREE = {"observed": point(8), "dashboard": point(8, 0.5), "balanced": point(8, 1.0)}


def robust_figures() -> dict[str, Any]:
    entry = {"accuracy": 0.5, "macro_recall": 0.25, "loss_points": 3.25}
    changes: dict[str, Any] = {name: dict(entry) for name in PERTURBATIONS}
    changes["half_occlusion"]["loss_points"] = 47.5
    changes[RECROPPED] = {"accuracy": None, "macro_recall": None, "loss_points": None, "found": 0.0, "n": 0}
    return {
        "n": 288,
        "seed": 0,
        "clean": {"accuracy": 0.875, "macro_recall": 0.75},
        "perturbations": changes,
        "kinds": {kind: 3.25 for kind in KINDS if kind != RECROPPED},
        "mean_loss_points": 6.75,
    }


class Cells(HTMLParser):
    """Rows of every table, texts of plots, tags; fails on tags that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "text":
            self.texts.append(data)

    def row(self, head: str) -> list[str]:
        """The first row that begins so."""
        return next(row for row in self.rows if row[0] == head)


def test_wilson_interval_by_published_figures() -> None:
    # Brown, Cai, DasGupta 2001 discuss the interval; 0 of 9 and 9 of 9 follow from z2 / (n + z2) = 0.2992.
    assert Share(0, 9).interval == pytest.approx((0, 0.2992), abs=1e-4)
    assert Share(9, 9).interval == pytest.approx((0.7008, 1), abs=1e-4)
    assert Share(50, 100).interval == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert Share(0, 0).interval == (0, 1)


@pytest.fixture(scope="module")
def full() -> str:
    """A page with every section, dashboard the default."""
    outputs, faces = drawn(8)
    card = card_of(EXPRESSIONS, THREE, default_operating_point="dashboard")
    return build_report(card, outputs, faces, robust_figures(), RUN)


def headline(card: ModelCard) -> str:
    """Only the main figures: no plot is drawn."""
    outputs, faces = drawn(8)
    figures = [point_figures(name, card, outputs, faces) for name in card.operating_points]
    return headline_section(card, figures, figures[0], differences(card, figures), earlier_uses(card, RUN.data_sha256))


def test_the_page_has_the_figures_of_set_report(full: str) -> None:
    outputs, faces = drawn(8)
    page = Cells(full)
    for name, head in (("observed", "observed"), ("dashboard", "dashboard (default)"), ("balanced", "balanced")):
        figures = set_report(outputs, "logits", THREE[name], faces, "faces.npz")
        row = page.row(head)
        assert row[1] == f"{100 * figures['accuracy']:.1f}\u00a0%"
        assert row[3] == f"{100 * figures['macro_recall']:.1f}\u00a0%"
        assert row[4] == f"{figures['ece']:.3f}"
        assert row[5] == f"{100 * figures['all']['accuracy']:.1f}\u00a0%"
        assert row[6] == "0.45"
        assert row[7] == f"{100 * figures['abstain']['coverage']:.1f}\u00a0%"
        assert row[8] == f"{100 * figures['abstain']['accuracy']:.1f}\u00a0%"
    figures = set_report(outputs, "logits", THREE["dashboard"], faces, "faces.npz")
    row = next(row for row in page.rows if row[0] == "contempt" and len(row) == 8)
    assert row[1] == str(figures["per_class"]["contempt"]["n"]) == "5"
    assert row[4] == f"{100 * figures['per_class']['contempt']['recall']:.1f}\u00a0%"
    # The matrix by hand: every cell of the default point, in the plot and in its table.
    read = calibrated(outputs, "logits", THREE["dashboard"]).argmax(axis=1)[faces.majority]
    shown = faces.labels[faces.majority]
    for index, label in enumerate(EXPRESSIONS):
        counts = [int(((shown == index) & (read == other)).sum()) for other in range(8)]
        assert [label, *map(str, counts)] in page.rows
        assert {str(count) for count in counts if count} <= set(page.texts)


def test_bins_and_curve_agree_with_the_calibration_error_and_coverage() -> None:
    outputs, faces = drawn(8)
    card = card_of(EXPRESSIONS, THREE)
    figures = point_figures("observed", card, outputs, faces)
    full = [entry for entry in figures.bins if entry.right.n]
    error = sum(entry.right.n * abs(entry.confidence - entry.right.value) for entry in full) / figures.accuracy.n
    assert error == pytest.approx(figures.ece)
    assert sum(entry.right.n for entry in full) == faces.majority.sum()
    sure = calibrated(outputs, "logits", THREE["observed"])[faces.majority]
    assert figures.curve[70] == coverage(sure, faces.labels[faces.majority], 0.70)
    assert figures.curve[-1].coverage * figures.accuracy.n >= 30
    assert figures.ece_before != figures.ece


def test_the_page_says_whether_the_card_agrees() -> None:
    outputs, faces = drawn(8)
    metrics = {name: set_report(outputs, "logits", entry, faces, "f") for name, entry in THREE.items()}
    card = card_of(EXPRESSIONS, THREE, metrics=metrics)
    figures = [point_figures(name, card, outputs, faces) for name in THREE]
    assert differences(card, figures) == []
    assert "All main figures are those of the model" in headline(card)
    right = metrics["balanced"]["accuracy"]
    metrics["balanced"]["accuracy"] = 0.999
    other = card_of(EXPRESSIONS, THREE, metrics=metrics)
    assert differences(other, figures) == [("balanced", "accuracy", "0.999", str(right))]
    page = headline(other)
    assert "Not the figures of the model" in page
    assert ["balanced", "accuracy", "0.999", str(right)] in Cells(page).rows


def test_the_page_says_what_the_faces_served_for_before() -> None:
    here, elsewhere = RUN.data_sha256, "00" * 32

    def told(**recipe: Any) -> str:
        return headline(card_of(EXPRESSIONS, THREE, recipe=recipe))

    assert "that training was watched on: the figures" in told(training={"inputs": {"validation set": here}})
    both = told(training={"inputs": {"validation set": here}}, validation_sha256=here)
    assert "that training was watched on and that temperature and threshold were chosen on: the figures" in both
    chosen = told(training={"inputs": {"validation set": elsewhere}}, validation_sha256=here)
    assert "faces that temperature and threshold were chosen on: the figures" in chosen
    assert "This is not the data file that the card names" in told(validation_sha256=elsewhere)
    assert "The card does not say which faces" in told(training=None)


def test_the_page_is_the_same_each_time_and_stays_small(full: str) -> None:
    outputs, faces = drawn(8)
    card = card_of(EXPRESSIONS, THREE, default_operating_point="dashboard")
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None}):  # as a user's matplotlibrc may say
        assert build_report(card, outputs, faces, robust_figures(), RUN) == full
    assert len(full.encode()) < 400_000


def test_the_page_loads_nothing_and_holds_no_picture(full: str) -> None:
    page = Cells(full)
    assert not page.tags & {"img", "image", "script", "link", "iframe", "object", "embed", "base", "form", "a"}
    links = [value for key, value in page.attributes if key in ("href", "src", "xlink:href", "srcset", "action")]
    assert all(value.startswith("#") for value in links)
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", full))
    assert not re.search(r"https?:|data:|@import|\bon[a-z]+=", full)
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links} | set(re.findall(r"url\(#([^)]*)\)", full)) <= set(ids)
    assert not re.search(r"#010[0-9a-f]{3}", full)  # no placeholder for a colour is left
    alts = [value for key, value in page.attributes if key == "aria-label"]
    assert any("contempt" in alt and "of 5" in alt for alt in alts)


def test_texts_of_the_card_are_escaped() -> None:
    evil = '<script>alert("$x$")</script> & "#010203" id="x"'
    labels = (evil, "b", "_c")
    outputs, faces = drawn(3)
    card = card_of(
        labels,
        {evil: point(3)},
        **dict.fromkeys(("name", "description", "limits", "training_data", "intended_use", "credits"), evil),
        recipe={evil: evil, "validation_sha256": evil},
    )
    text = build_report(card, outputs, faces, None, replace(RUN, model=f"{evil}.tflite", data=evil))
    page = Cells(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert page.row(evil)
    assert any(found.startswith("<script>alert") for found in page.texts)
    assert "_c (5)" in page.texts


def test_own_labels_and_a_network_whose_prior_is_not_known() -> None:
    outputs, faces = drawn(3)
    card = card_of(("awake", "drowsy", "asleep"), {"as_trained": point(3)})
    page = Cells(build_report(card, outputs, faces, None, RUN))
    figures = set_report(outputs, "logits", point(3), faces, "f", card.labels)
    assert page.row("as_trained (default)")[1] == f"{100 * figures['accuracy']:.1f}\u00a0%"
    row = next(row for row in page.rows if row[0] == "asleep" and len(row) == 4)
    assert row[:3] == ["asleep", "5", f"{100 * figures['per_class']['asleep']['recall']:.1f}\u00a0%"]
    assert page.row("awake")[0] == "awake"
    assert ["as_trained", "the training's own, which is not known"] in page.rows


def test_a_label_that_no_face_shows_is_named_and_not_measured() -> None:
    outputs, faces = drawn(3)
    card = card_of(("a", "b", "c", "never"), {"as_trained": point(4)})
    text = build_report(card, np.pad(outputs, ((0, 0), (0, 1)), constant_values=-9), faces, None, RUN)
    assert "Not measured, because no clear face shows it: never." in text
    assert ["never", "0", "–", "–"] in Cells(text).rows  # noqa: RUF001 - a dash
    assert "nan" not in text


def test_robustness_is_shown_and_can_be_left_out(full: str) -> None:
    page = Cells(full)
    assert page.row("half_occlusion") == ["half_occlusion", "occlusion", "50.0\u00a0%", "25.0\u00a0%", "47.5"]
    assert page.row("recropped")[-1] == "–"  # noqa: RUF001 - a dash
    assert "half occlusion" in page.texts
    assert "47.5" in page.texts
    assert "recropped" not in page.texts
    outputs, faces = drawn(3)
    without = build_report(card_of(("a", "b", "c"), {"as_trained": point(3)}), outputs, faces, None, RUN)
    assert "half_occlusion" not in without
    assert "--out fake.html --no-robust" in without


def test_slow_operators_are_a_warning() -> None:
    outputs, faces = drawn(8)
    card = card_of(EXPRESSIONS, THREE)
    default = point_figures("observed", card, outputs, faces)
    slow = summary_header(card, default, replace(RUN, xnnpack=XnnpackShare(0, 39)))
    assert "left operators to slow kernels" in slow
    assert "left operators to slow kernels" not in summary_header(card, default, RUN)


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of a shipped network with a card of one point and without figures."""
    content = (MODELS / "emotionnet_nano_b_float32.tflite").read_bytes()
    model = tmp_path / "net.tflite"
    model.write_bytes(content)
    old = json.loads((MODELS / "emotionnet_nano_b_float32.json").read_text())
    card = card_of(EXPRESSIONS, {"as_trained": point(8)}, name="net", sha256=old["sha256"], size_bytes=len(content))
    model.with_suffix(".json").write_text(card.model_dump_json())
    return model


def write_faces(path: Path, count: int = 24) -> Path:
    rng = np.random.default_rng(3)
    labels = np.array([EXPRESSIONS[index % 8] for index in range(count)])
    np.savez(path, images=rng.integers(0, 256, (count, 48, 48), np.uint8), labels=labels)
    return path


def test_write_report_of_a_real_file(shipped: Path, tmp_path: Path) -> None:
    data, out = write_faces(tmp_path / "faces.npz"), tmp_path / "pages" / "report.html"
    write_report(shipped, data, out, robust=False)
    first = out.read_bytes()
    page = Cells(first.decode())
    assert page.row("sha256 of the model")[1] == json.loads(shipped.with_suffix(".json").read_text())["sha256"]
    assert "24 images, 24 with one of the model" in first.decode()
    assert str(tmp_path) not in first.decode()
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]
    with pytest.raises(UsageError, match=r"report\.html: is there already; --force replaces it"):
        write_report(shipped, data, out, robust=False)
    write_report(shipped, data, out, robust=False, force=True)
    assert out.read_bytes() == first


def test_the_command_writes_the_page(shipped: Path, tmp_path: Path) -> None:
    data, out = write_faces(tmp_path / "faces.npz"), tmp_path / "report.html"
    arguments = ["--model", str(shipped), "--data", str(data), "--out", str(out), "--no-robust"]
    result = CliRunner().invoke(report_command, arguments)
    assert (result.exit_code, result.output) == (0, f"{out}: {out.stat().st_size:,} bytes\n")


def test_wrong_input_is_named_and_leaves_nothing(shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(UnavailableError, match=r"none\.npz: no such file"):
        write_report(shipped, tmp_path / "none.npz", out)
    np.savez(tmp_path / "empty.npz", images=np.zeros((0, 48, 48), np.uint8), labels=np.array([], str))
    with pytest.raises(UnavailableError, match=r"empty\.npz: no image to evaluate on"):
        write_report(shipped, tmp_path / "empty.npz", out)
    data = write_faces(tmp_path / "faces.npz")
    with pytest.raises(UnavailableError, match=r"faces\.npz: cannot be made"):
        write_report(shipped, data, data / "report.html", robust=False)
    five = card_of(
        EXPRESSIONS[:5], {"as_trained": point(5)}, sha256=json.loads(shipped.with_suffix(".json").read_text())["sha256"]
    )
    np.savez(tmp_path / "five.npz", images=np.zeros((5, 48, 48), np.uint8), labels=np.array(EXPRESSIONS[:5]))
    shipped.with_suffix(".json").write_text(five.model_dump_json())
    with pytest.raises(ModelError, match="gives 8 numbers, but its card has 5 labels"):
        write_report(shipped, tmp_path / "five.npz", out)
    shipped.write_bytes(shipped.read_bytes()[:1000])
    with pytest.raises(ModelError, match="sha256 is"):
        write_report(shipped, data, out)
    assert not out.exists()
