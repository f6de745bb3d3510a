"""The honest comparison: the same network in TensorFlow's graph mode and in Keras `predict`, timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from converter.network import INPUT_PX, NETWORKS, build
from edge_fer.labels import EXPRESSIONS

WARM_UP_RUNS = 20


def measure_baseline(network: str, seconds: float, threads: int) -> dict[str, Any]:
    """Time of one image in a float32 tf.function and in `predict`, each for `seconds`; weights are random: no matter.

    `..._ms_median` and `..._ms_p95` are wall clock, `..._cpu_ms_mean` what all threads used together. `threads` can be
    set only before TensorFlow has run anything in this process.
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
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    tensor = tf.constant(image)
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "network": network,
        "threads": threads,
        # As the caller needs the numbers, waiting for them counts.
        **_timed("graph", lambda: graph(tensor).numpy(), seconds),
        **_timed("predict", lambda: model.predict(image, verbose=0), seconds),
    }


def _timed(how: str, once: Callable[[], object], seconds: float) -> dict[str, float]:
    for _ in range(WARM_UP_RUNS):
        once()
    times_ms: list[float] = []
    cpu_start, end = time.process_time(), time.perf_counter() + seconds
    while not times_ms or time.perf_counter() < end:
        start = time.perf_counter()
        once()
        times_ms.append((time.perf_counter() - start) * 1e3)
    median, p95 = np.percentile(times_ms, (50, 95))
    return {
        f"{how}_ms_median": float(median),
        f"{how}_ms_p95": float(p95),
        f"{how}_cpu_ms_mean": (time.process_time() - cpu_start) * 1e3 / len(times_ms),
        f"{how}_runs": len(times_ms),
    }
