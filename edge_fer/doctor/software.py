"""Python, the packages and the networks: each is tried in a child first, because a wrong build ends its process."""

from __future__ import annotations

import platform
import re
import signal
import sys
from typing import NamedTuple

from edge_fer.doctor.children import OPENBLAS, Step, glibc, steps
from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient

OLDEST, NEWEST = (3, 10), (3, 13)
"""Versions of Python that edge-fer is made for."""


class Package(NamedTuple):
    """Something to import."""

    module: str
    distribution: str
    needs_numpy: bool = False

    @property
    def word(self) -> str:
        """As the trial wants it."""
        return f"{self.module}={self.distribution}"


PACKAGES = (
    Package("numpy", "numpy"),
    Package("pydantic", "pydantic"),
    Package("psutil", "psutil"),
    Package("paho.mqtt.client", "paho-mqtt"),
    Package("prometheus_client", "prometheus-client"),
    Package("cv2", "opencv-python-headless", needs_numpy=True),
    Package("lap", "lap", needs_numpy=True),
)
RUNTIMES = (
    Package("ai_edge_litert.interpreter", "ai-edge-litert", needs_numpy=True),
    Package("tflite_runtime.interpreter", "tflite-runtime", needs_numpy=True),
)
CONFIG = "edge_fer.config"
"""Reads the configuration, and imports much of the above."""

NEWER_GLIBC = re.compile(r"version `GLIBC_([\d.]+)' not found")
_INSTALL = "pip install --force-reinstall"


def check_python(patient: Patient) -> list[Finding]:
    """Its version, and what it runs on."""
    version = platform.python_version()
    libc = glibc()
    found = f"{version} on {patient.place.processor}" + (f", glibc {libc}" if libc else "")
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        right = "use Python {}.{} to {}.{}; uv python install 3.10 where the system has none".format(*OLDEST, *NEWEST)
        return [failed(found, right)]
    if sys.maxsize <= 2**32:
        return [failed(f"{found}, 32 bit", "use a 64-bit system: the runtimes of the networks have no 32-bit packages")]
    return [ok(found)]


def check_packages(patient: Patient) -> list[Finding]:
    """What edge-fer cannot do without; those that fail are noted in `patient.broken`."""
    numpy, *others = (*PACKAGES, *_older_python())
    done = _try(patient, [numpy])
    done += _try(patient, [package for package in others if done[0][1].good or not package.needs_numpy])
    good = [f"{package.distribution} {step.told['version']}" for package, step in done if step.good]
    findings = [_broken(patient, package, step) for package, step in done if not step.good]
    config = steps(patient.place, "import", [CONFIG])[0] if done[0][1].good else done[0][1]
    if not config.good:
        patient.broken.add(CONFIG)
        if not findings:  # else it is one of these that it needs
            findings.append(failed(_shortened(config.problem), f"{_INSTALL} edge-fer", "edge-fer"))
    return [ok(", ".join(good)), *findings] if good else findings


def check_runtime(patient: Patient) -> list[Finding]:
    """What runs the networks: one is enough, but one that ends the process is chosen, and ends the daemon."""
    if "numpy" in patient.broken:
        return [skipped("needs numpy")]
    done = _try(patient, list(RUNTIMES))
    good = [f"{package.distribution} {step.told['version']}" for package, step in done if step.good]
    findings = []
    for package, step in done:
        if step.good or "ModuleNotFoundError" in step.error:
            continue  # one that is not installed is not missed where there is the other
        told = _broken(patient, package, step)
        findings.append(warning(told.found, told.cure, told.about) if good and step.error else told)
    if not good:
        return findings or [failed("no TFLite runtime is installed", "pip install 'edge-fer[litert]'")]
    if any(package.module.startswith("ai_edge") and step.good for package, step in done):
        return [ok(", ".join(good)), *findings]
    slower = "no LiteRT: int8 does not run fast, the float32 networks are used"
    return [ok(f"{', '.join(good)}; {slower}"), *findings]


def check_inference(patient: Patient) -> list[Finding]:
    """Loads the networks of the configuration as the daemon does, and runs each once."""
    if broken := patient.broken:
        return [skipped(f"needs {', '.join(sorted(broken))}")]
    if patient.config_file and patient.config is None:
        return [skipped("the configuration is wrong")]
    word = str(patient.config_file.absolute()) if patient.config_file else ""
    step = steps(patient.place, "infer", [word])[0]
    if not step.good:
        return [failed(_shortened(step.problem), _cure_networks(patient, step, word))]
    return [_network(**network) for network in step.told["networks"]]


def _network(*, name: str, runtime: str, threads: int, xnnpack: tuple[int, int], ms: float) -> Finding:
    taken, total = xnnpack
    told = f"{ms:g} ms on {runtime}, {threads} thread{'s' * (threads > 1)}; XNNPACK takes {taken} of {total} operators"
    if taken < total:
        return warning(told, "the rest runs many times slower: int8 needs runtime 'litert'", name)
    return ok(told, name)


def _older_python() -> list[Package]:
    return [Package("tomli", "tomli")] if sys.version_info < (3, 11) else []


def _try(patient: Patient, packages: list[Package]) -> list[tuple[Package, Step]]:
    done = steps(patient.place, "import", [package.word for package in packages])
    return list(zip(packages, done, strict=True))


def _broken(patient: Patient, package: Package, step: Step) -> Finding:
    patient.broken.add(package.module)
    return failed(_shortened(step.problem), cure(patient, step, package), package.distribution)


def cure(patient: Patient, step: Step, package: Package) -> str:
    """What helps against a package that does not import."""
    if step.signal:
        return _cure_signal(patient, step, f"{package.distribution}", "import", package.word)
    if step.silent_s:
        return "is the disk or SD card dying, or the machine out of memory? see dmesg"
    return _cure_error(step.error, package.distribution)


def _cure_networks(patient: Patient, step: Step, word: str) -> str:
    if step.signal:
        return _cure_signal(patient, step, "the TFLite runtime", "infer", word)
    if step.silent_s:
        return "is the machine overloaded or out of memory? see dmesg"
    if "XNNPACK" in step.error:
        return 'model.precision and model.runtime = "auto" choose what runs fast'
    return "install edge-fer again; for a model of your own, its card must lie beside it"


def _cure_signal(patient: Patient, step: Step, what: str, action: str, word: str) -> str:
    """Tries the cure where there is one to try."""
    if step.signal == signal.SIGILL:
        is_arm = patient.place.processor in ("aarch64", "arm64", "armv8l")
        variable = "=".join(next(iter(OPENBLAS.items())))
        if is_arm and steps(patient.place, action, [word], OPENBLAS)[0].good:
            return f"works with {variable}: put it into the environment, Environment={variable} in the systemd unit"
        tried = f"{variable} does not help; " if is_arm else ""
        return f"{tried}this processor lacks instructions that {what} was built for: install another version of it"
    if step.signal == signal.SIGKILL:
        return "most probably the kernel needed its memory: see dmesg, and free some"
    if step.signal == signal.SIGBUS:
        return f"a file of {what} is damaged, or the disk is: see dmesg, then {_INSTALL} it"
    return f"the build of {what} does not fit this system: install another version of it"


_MISSING_LIBRARIES = {
    "libstdc++.so.6: cannot open": "apt-get install libstdc++6",
    "libGL": "this is OpenCV for desktops: pip uninstall opencv-python, pip install opencv-python-headless",
}


def _cure_error(error: str, distribution: str) -> str:
    if newer := NEWER_GLIBC.search(error):
        return (
            f"it needs glibc {newer[1]}, this system has {glibc() or 'another C library'}: an older version of "
            f"{distribution}; {_older_runtime(distribution)}"
        )
    if sign := next((sign for sign in _MISSING_LIBRARIES if sign in error), None):
        return _MISSING_LIBRARIES[sign]
    if "static TLS block" in error and (library := re.search(r"(/\S+\.so[\w.]*)", error)):
        return f"load it first: LD_PRELOAD={library[1]}, Environment=LD_PRELOAD=... in the systemd unit"
    if "ARRAY_API" in error or "NumPy 1.x" in error or "numpy.core.multiarray" in error:
        return "pip install 'numpy<2': tflite-runtime and what is built against NumPy 1 need it"
    if "ModuleNotFoundError" in error or "PackageNotFoundError" in error:
        return f"pip install {distribution}, or edge-fer again, into the environment of {sys.executable}"
    return f"{_INSTALL} {distribution}"


def _older_runtime(distribution: str) -> str:
    """What is known to run on older systems."""
    known = {
        "ai-edge-litert": "pip install 'ai-edge-litert==2.1.0' needs glibc 2.30, tflite-runtime 2.27",
        "tflite-runtime": "pip install 'tflite-runtime==2.13.0' needs glibc 2.27",
    }
    return known.get(distribution, f"pip install --upgrade pip, then {_INSTALL} {distribution}")


def _shortened(text: str, longest: int = 400) -> str:
    return text if len(text) <= longest else f"{text[:longest]} ..."
