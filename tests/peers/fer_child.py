"""fer on a clip, in its own environment: `python fer_child.py CLIP --variant NAME`. Started by compare_fer.py.

Writes "first" when it has read its first face, and at the end one line of JSON. Imports nothing of edge-fer.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cv2

VARIANTS: dict[str, dict[str, Any]] = {
    "haar": {},
    "haar-1-thread": {},
    "haar-keras": {"use_tflite": False},
    "mtcnn": {"mtcnn": True},
}
"""Options of FER(); "haar" is its default."""

WARM_UP_FRAMES = 10


def main() -> None:
    """Warm up, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--variant", choices=VARIANTS, default="haar")
    parser.add_argument("--frames", type=int, default=0, help="look at so many, evenly spread; 0 is all")
    args = parser.parse_args()
    if args.variant == "haar-1-thread":
        cv2.setNumThreads(1)
    remark = stand_in_for_nms() if args.variant == "mtcnn" else ""
    from fer.fer import FER

    detector = FER(**VARIANTS[args.variant])
    count = warm_up(detector, args.clip)
    report = {"variant": args.variant, "remark": remark, **measure(detector, args.clip, count, args.frames or count)}
    tell(json.dumps(report))


def warm_up(detector: Any, clip: str) -> int:
    """Read the first frames, go on to the first face, and count the frames of the clip."""
    found, count = False, 0
    for image in frames(clip):
        count += 1
        if count <= WARM_UP_FRAMES or not found:
            seen = bool(detector.detect_emotions(image))
            if seen and not found:
                tell("first")
            found = found or seen
    if not count:
        sys.exit(f"{clip}: no frame in it can be read")
    return count


def measure(detector: Any, clip: str, count: int, wanted: int) -> dict[str, Any]:
    """Detect and read in `wanted` of the clip's `count` frames; CPU is user and system time of all threads."""
    looked, faces, with_face = 0, 0, 0
    spent_ns, wall_ns = 0, 0
    emotions: Counter[str] = Counter()
    children_s, started_ns = _children_s(), time.process_time_ns()
    for number, image in enumerate(frames(clip)):
        if number * wanted // count == (number - 1) * wanted // count:
            continue
        cpu_ns, begun_ns = time.process_time_ns(), time.perf_counter_ns()
        found = detector.detect_emotions(image)
        spent_ns += time.process_time_ns() - cpu_ns
        wall_ns += time.perf_counter_ns() - begun_ns
        looked += 1
        faces += len(found)
        with_face += bool(found)
        emotions.update(max(face["emotions"], key=face["emotions"].get) for face in found)
    all_ns = time.process_time_ns() - started_ns + round((_children_s() - children_s) * 1e9)
    read_ms, decode_ms = spent_ns / looked / 1e6, (all_ns - spent_ns) / count / 1e6
    return {
        "frames": looked,
        "cpu_ms_per_frame": read_ms + decode_ms,
        "cpu_ms_without_decode": read_ms,
        "wall_ms_without_decode": wall_ns / looked / 1e6,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "faces_per_frame": faces / looked,
        "frames_with_face": with_face / looked,
        "read_as": dict(emotions.most_common()),
    }


def frames(clip: str) -> Iterator[Any]:
    """Every frame, decoded as edge-fer decodes: by FFmpeg on one thread, so that decoding does not hide in reading."""
    capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while True:
        read, image = capture.read()
        if not read:
            return
        yield image


def stand_in_for_nms() -> str:
    """Where torchvision is a CUDA build and torch is not, its operators do not load. MTCNN uses one of them: `nms`.

    OpenCV then does it, in C++ too. Returns the remark for the report, empty where nothing was replaced.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    else:
        return ""

    def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
        corners = boxes.detach().double().numpy().copy()
        corners[:, 2:] -= corners[:, :2]
        kept = cv2.dnn.NMSBoxes(corners.tolist(), scores.tolist(), 0.0, iou_threshold)
        return torch.as_tensor(kept, dtype=torch.int64).reshape(-1)

    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CPU")
    stand_in_for_nms.library = library  # its operators go when it goes
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True
    return "torchvision's own operators do not load here; its nms is done by OpenCV (under 1 % of the time)"


def tell(line: str) -> None:
    """One line for the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
