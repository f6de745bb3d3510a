"""The examination of one machine, the same on arm64 under qemu and on this one: python armexam.py PLAN.json

It must be readable by Python 3.9 too, where only the runtimes are examined: edge_fer as a whole needs 3.10. Each answer
is a line of JSON on the standard output, written at once, so that it is known how far a process came that crashed.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
from pathlib import Path
from typing import Any

AT_HWCAP = 16
OLDEST_FOR_EDGE_FER = (3, 10)


def tell(what: str, **answer: Any) -> None:
    print(json.dumps({"what": what, **answer, "cpu_s": round(time.process_time(), 2)}), flush=True)  # noqa: T201 - the answer


def examine_machine() -> None:
    libc = ctypes.CDLL(None)
    libc.gnu_get_libc_version.restype = ctypes.c_char_p
    libc.getauxval.argtypes, libc.getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
    tell(
        "machine",
        machine=platform.machine(),
        python=".".join(platform.python_version_tuple()[:2]),
        glibc=libc.gnu_get_libc_version().decode(),
        hwcap=libc.getauxval(AT_HWCAP),
    )


def examine_imports(site: Path) -> None:
    """All that is at the top of each package can be imported."""
    for distribution in sorted(importlib.metadata.distributions(path=[str(site)]), key=_name):
        modules = _modules(distribution)
        for module in modules:
            tell("importing", package=_name(distribution), module=module)
            try:
                importlib.import_module(module)
            except Exception as err:  # noqa: BLE001 - whatever it is, it is told, and the test fails
                tell("failed", part=f"import {module} of {_name(distribution)}", error=repr(err))
        tell("imported", package=_name(distribution), version=distribution.version, modules=modules)


def examine_models(plan: dict[str, Any]) -> None:
    """Every model on every runtime: what it gives for fixed inputs goes to a file."""
    import numpy as np

    if sys.version_info < OLDEST_FOR_EDGE_FER:
        _allow_slots()
    from edge_fer.tflite import Graph

    inputs, outputs = np.load(plan["inputs"]), {}
    for runtime in plan["runtimes"]:
        for path in map(Path, plan["models"]):
            tell("loading", runtime=runtime, model=path.name)
            graph = Graph(path.name, path.read_bytes(), runtime=runtime)
            share, step = graph.xnnpack, graph.outputs[0].quant.scale
            tell("model", runtime=runtime, model=path.name, taken=share.taken, total=share.total, step=step)
            for number, real in enumerate(inputs[path.name]):
                for output, tensor in zip(graph.outputs, graph.run(real)):  # noqa: B905 - Python 3.9
                    outputs[f"{runtime} {path.name} input {number} {output.name}"] = tensor
    np.savez(plan["outputs"], **outputs)


def examine_decoder(target: Path) -> None:
    """The first picture of the sample clip goes to a file."""
    import numpy as np

    from edge_fer.capture.open import open_source
    from edge_fer.capture.uri import parse_camera_uri

    source = open_source(parse_camera_uri("sample:"))
    np.save(target, next(iter(source.pictures())).bgr)
    source.close()


def examine_flow(name: str, tables: dict[str, Any], frames: int) -> None:
    """The daemon without a broker, from pictures to events, for so many frames."""
    from edge_fer.config import load_config
    from edge_fer.look import Look, Observation
    from edge_fer.messages import Message
    from edge_fer.service import running

    messages: list[Message] = []

    class Collector:
        def publish(self, message: Message) -> None:
            messages.append(message)

    stop, looks = threading.Event(), 0

    def count(seen: Observation) -> None:
        nonlocal looks
        looks += isinstance(seen, Look)
        if looks == frames:
            stop.set()

    tell("flow begins", name=name)
    config = load_config(None, {"node": "lab", "power": {"enabled": False}, **tables})
    with running(config, [Collector()]) as daemon:
        daemon.pipeline.listen(count)
        daemon.run(stop)
    info = next(dict(message.body) for message in messages if message.topic.endswith("/info"))
    events = [dict(message.body) for message in messages if message.tells_expression]
    tell("flow", name=name, frames=looks, models=info["models"], events=events)


def examine_shared_objects(folder: Path, left_out: list[str]) -> None:
    """Each is loaded as an import would; functions of another Python's that are missing count only when called."""
    paths = sorted(path for path in folder.rglob("*.so*") if path.is_file() and path.name not in left_out)
    for path in paths:
        tell("opening", file=path.name)
        try:
            ctypes.CDLL(str(path), mode=os.RTLD_LAZY)
        except OSError as err:
            tell("failed", part=f"load {path.relative_to(folder)}", folder=str(folder), error=str(err))
    tell("loaded", folder=str(folder), files=[path.name for path in paths])


def tell_mapped() -> None:
    """Which shared objects this process has used so far."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    tell("mapped", files=sorted({Path(line.split()[-1]).name for line in lines if ".so" in line}))


def _name(distribution: importlib.metadata.Distribution) -> str:
    return distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")


def _modules(distribution: importlib.metadata.Distribution) -> list[str]:
    """Names that it puts at the top of its folder."""
    modules = set()
    for file in distribution.files or []:
        top = file.parts[0]
        if len(file.parts) > 1 and top.isidentifier():
            modules.add(top)
        elif len(file.parts) == 1 and (file.suffix == ".py" or ".so" in file.suffixes):
            modules.add(top.partition(".")[0])
    return sorted(modules - {"bin"})


def _allow_slots() -> None:
    """Lets edge_fer.tflite be read by Python 3.9, whose data classes have no slots: those only save memory."""
    plain = dataclasses.dataclass

    def dataclass(cls: Any = None, *, slots: bool = False, **options: Any) -> Any:
        del slots
        return plain(cls, **options)

    dataclasses.dataclass = dataclass


def main(plan: dict[str, Any]) -> None:
    examine_machine()
    if "site" in plan:
        examine_imports(Path(plan["site"]))
    if "models" in plan:
        examine_models(plan)
    if "decoded" in plan:
        examine_decoder(Path(plan["decoded"]))
    for name, flow in plan["flows"].items():
        examine_flow(name, flow["tables"], flow["frames"])
    tell_mapped()
    for folder in plan["load"]:
        examine_shared_objects(Path(folder), plan["left_out"])
    tell("done")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
