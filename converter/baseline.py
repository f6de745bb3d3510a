"""The honest comparison: the same network in TensorFlow's graph mode, timed on this machine."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from converter.network import INPUT_PX, NETWORKS, build
from edge_fer.labels import EXPRESSIONS

WARM_UP_RUNS = 20


def measure_baseline(network: str, seconds: float, threads: int) -> dict[str, Any]:
    """Time of one image in a float32 tf.function, weights random: they do not change the time.

    `graph_ms_median` is wall clock, `graph_cpu_ms_mean` what all threads used together. `threads` can be set only
    before TensorFlow has run anything in this process.
    """
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    model = build(NETWORKS[network], len(EXPRESSIONS), softmax=True)
    shape = (1, INPUT_PX, INPUT_PX, 1)
    graph = tf.function(lambda image: model(image, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)])
    image = tf.constant(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32))
    for _ in range(WARM_UP_RUNS):
        graph(image).numpy()
    times_ms: list[float] = []
    cpu_start, end = time.process_time(), time.perf_counter() + seconds
    while not times_ms or time.perf_counter() < end:
        start = time.perf_counter()
        graph(image).numpy()  # as the caller needs the numbers, waiting for them counts
        times_ms.append((time.perf_counter() - start) * 1e3)
    return {
        "tensorflow": tf.__version__,
        "network": network,
        "graph_ms_median": statistics.median(times_ms),
        "graph_cpu_ms_mean": (time.process_time() - cpu_start) * 1e3 / len(times_ms),
        "runs": len(times_ms),
        "threads": threads,
    }
