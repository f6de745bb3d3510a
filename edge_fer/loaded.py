"""The networks of a configuration, loaded and warm, and what the node tells about them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import edge_fer
from edge_fer.align import CROP_PX
from edge_fer.classify import ExpressionReader, load_reader, require_xnnpack
from edge_fer.config import Config
from edge_fer.decide import DecideSettings
from edge_fer.errors import EdgeFerError
from edge_fer.events import ModelInfo, NodeInfo
from edge_fer.labels import EXPRESSIONS
from edge_fer.memory.state_folder import state_folder
from edge_fer.telemetry import board_name
from edge_fer.tflite import Graph
from edge_fer.tracking.search import FaceSearch
from edge_fer.tune.resolve import Choices, plain_choices, resolve

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Models:
    """The networks, loaded and warm."""

    search: FaceSearch
    reader: ExpressionReader


def load_models(config: Config) -> Models:
    """Load and warm the networks, as a tuning of this board says; ModelError where one is missing, damaged or slow.

    A tuning never keeps the daemon from starting: where what it says does not load, the defaults are loaded.
    """
    # OpenCV's own threads cost more CPU than they save time on pictures of this size.
    cv2.setNumThreads(1)
    choices = resolve(config.model, config.detector, state_folder(config.state_dir, config.node))
    if choices.told:
        log.log(choices.level, "%s", choices.told)
    try:
        return _load(config, choices)
    except EdgeFerError as err:
        if not choices.tuned:
            raise
        log.warning("the tuning is not used, because what it says does not load: %s", err)
        return _load(config, plain_choices(config.model))


def with_card_threshold(settings: DecideSettings, reader: ExpressionReader) -> DecideSettings:
    """The configured min_confidence, or the one of the operating point that the reader reads at."""
    if settings.min_confidence is not None:
        return settings
    return settings.model_copy(update={"min_confidence": reader.point.min_confidence})


def node_info(config: Config, models: Models, boot_id: str) -> NodeInfo:
    """What `/info` tells about this node."""

    def told(graph: Graph, point: str | None = None) -> ModelInfo:
        return ModelInfo(
            name=Path(graph.name).stem,
            sha256=graph.sha256,
            runtime=graph.runtime,
            threads=graph.threads,
            xnnpack_operators=graph.xnnpack.taken,
            operators=graph.xnnpack.total,
            operating_point=point,
        )

    return NodeInfo(
        version=edge_fer.__version__,
        boot_id=boot_id,
        board=board_name(),
        labels=list(EXPRESSIONS),
        models=[*map(told, models.search.graphs), told(models.reader.graph, models.reader.point_name)],
        cameras=list(config.camera),
        config_sha256=config.sha256,
    )


def _load(config: Config, choices: Choices) -> Models:
    read, network = config.model, choices.network
    search = FaceSearch(config.detector, runtime=choices.detector.runtime, threads=choices.detector.threads)
    reader = load_reader(
        read.network,
        network.precision,
        path=read.path,
        runtime=network.runtime,
        threads=network.threads,
        prior=read.prior,
    )
    for detector in search.detectors.values():
        require_xnnpack(detector.graph)
        detector.detect(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))
    reader.read(np.zeros((CROP_PX, CROP_PX), np.uint8))
    for graph in (*search.graphs, reader.graph):
        log.info(
            "%s on %s, %d thread(s), XNNPACK takes %d of %d operators",
            *(Path(graph.name).name, graph.runtime, graph.threads, graph.xnnpack.taken, graph.xnnpack.total),
        )
    point = reader.point
    log.info(
        'reads at operating point %s, temperature %.2f; "uncertain" below %.2f',
        *(reader.point_name, point.temperature, with_card_threshold(config.decide, reader).min_confidence),
    )
    return Models(search, reader)
