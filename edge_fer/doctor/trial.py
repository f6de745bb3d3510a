"""What may kill a process is tried in this one: `python -m edge_fer.doctor.trial import MODULE ...`, `... infer FILE`.

Each step is told before it begins and when it has ended, a JSON line each, so that whoever started it knows where it
died.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS = 5
"""Of each network; the quickest is told, since the others wait for whatever else goes on."""


def main(argv: Sequence[str]) -> int:
    """Import the modules, or run each network of a configuration ("" for the defaults)."""
    what, *words = argv
    for word in words:
        _tell(begin=word)
        try:
            told = _imported(word) if what == "import" else {"networks": _inferred(Path(word) if word else None)}
        except Exception as err:  # noqa: BLE001 - whatever it is, it is what was asked for
            _tell(end=word, error=f"{type(err).__name__}: {err}")
        else:
            _tell(end=word, **told)
    return 0


def _imported(word: str) -> dict[str, Any]:
    """`module=distribution`, the latter for its version."""
    module, _, distribution = word.partition("=")
    importlib.import_module(module)
    return {"version": importlib.metadata.version(distribution) if distribution else ""}


def _inferred(config_file: Path | None) -> list[dict[str, Any]]:
    import numpy as np

    from edge_fer.align import CROP_PX
    from edge_fer.config import Config, load_config
    from edge_fer.loaded import load_models

    config = (
        load_config(config_file, {})
        if config_file
        else Config.model_validate({"node": "doctor", "camera": {"none": {"uri": "sample:"}}})
    )
    models = load_models(config)
    picture, crop = np.zeros((480, 640, 3), np.uint8), np.zeros((CROP_PX, CROP_PX), np.uint8)
    work = [(detector.graph, detector.detect, picture) for detector in models.search.detectors.values()]
    found = []
    for graph, run, image in (*work, (models.reader.graph, models.reader.read, crop)):
        took_s = []
        for _ in range(RUNS):
            began_s = time.perf_counter()
            run(image)
            took_s.append(time.perf_counter() - began_s)
        found.append(
            {
                "name": Path(graph.name).stem,
                "runtime": graph.runtime,
                "threads": graph.threads,
                "xnnpack": list(graph.xnnpack),
                "ms": round(min(took_s) * 1e3, 1),
            }
        )
    return found


def _tell(**line: Any) -> None:  # noqa: ANN401 - of JSON
    print(json.dumps(line), flush=True)  # noqa: T201 - read by whoever started it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
