"""What this machine lacks for the suite, and what to install."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGE = "gossamer-keras"
OK, WARNING, MISSING, OPTIONAL = "ok", "warning", "missing", "optional"

# What open3d's wheel links but does not bring: shared object → Debian package.
_OPEN3D_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libgomp.so.1": "libgomp1",
    "libX11.so.6": "libx11-6",
}
_LITERT_PROBE = """
import sys
from ai_edge_litert.interpreter import Interpreter
import numpy as np
i = Interpreter(model_content=sys.stdin.buffer.read())
i.allocate_tensors()
i.set_tensor(i.get_input_details()[0]["index"], np.array([[1, 2]], np.float32))
i.invoke()
assert i.get_tensor(i.get_output_details()[0]["index"]).tolist() == [[2, 4]]
"""
_TENSORFLOW_PROBE = """
import keras, tensorflow as tf
assert keras.backend.backend() == "tensorflow", "KERAS_BACKEND is " + keras.backend.backend()
assert float(tf.reduce_sum(tf.ones((2, 2)))) == 4
"""


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        check: What was looked at.
        status: "ok", "warning", "missing" (the suite does not run) or "optional".
        found: What is there.
        advice: What to do; empty when nothing is to be done.
    """

    check: str
    status: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Return the findings on this machine; the slow ones run beside each other."""
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _processor,
        _memory,
        _disk,
        _litert,
        _tensorflow,
        _open3d,
        _tensorboard,
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(lambda check: check(), checks) for finding in found]


def requirements() -> tuple[str, list[str]]:
    """Return the Python range and the requirement lines, from the installed package or setup.cfg.

    Extras are lines that end in a marker, as in package metadata.
    """
    try:
        info = metadata.metadata(PACKAGE)
        return str(info["Requires-Python"] or ""), metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return _from_checkout(Path(__file__).resolve().parents[2] / "setup.cfg")


def check_package(line: str) -> Finding | None:
    """Return the finding on one requirement line; None for one of an extra."""
    from packaging.requirements import Requirement

    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    advice = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Finding(wanted.name, MISSING, "not installed", advice)
    if wanted.specifier.contains(version, prereleases=True):
        return Finding(wanted.name, OK, version)
    return Finding(wanted.name, MISSING, f"{version}, needs {wanted.specifier}", advice)


def check_libraries(libraries: dict[str, str]) -> list[str]:
    """Return the Debian packages of the shared libraries that cannot be loaded."""
    missing = []
    for name, package in libraries.items():
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(package)
    return missing


def _python() -> list[Finding]:
    from packaging.specifiers import SpecifierSet

    wanted, version = requirements()[0], platform.python_version()
    if not wanted or SpecifierSet(wanted).contains(version, prereleases=True):
        return [Finding("Python", OK, f"{version} ({sys.executable})")]
    advice = f"make a virtual environment of Python {wanted}"
    return [Finding("Python", MISSING, f"{version}, needs {wanted}", advice)]


def _packages() -> list[Finding]:
    findings = [check_package(line) for line in requirements()[1]]
    return [finding for finding in findings if finding is not None]


def _processor() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = platform.machine()
    found = f"{cores} core(s), {machine}"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [Finding("processor", OK, found)]
    flags = {
        word for line in text.splitlines() if line.startswith("flags") for word in line.split()
    }
    if machine not in ("x86_64", "AMD64") or not flags:
        return [Finding("processor", OK, found)]
    known = [name for name in ("avx", "avx2", "fma", "avx512f") if name in flags]
    found = f"{found}, {' '.join(known).upper() or 'no AVX'}"
    if "avx" not in flags:
        advice = "TensorFlow's packages need a processor (or virtual machine) with AVX"
        return [Finding("processor", MISSING, found, advice)]
    return [Finding("processor", OK, found)]


def _memory() -> list[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = values["MemTotal"], values["MemAvailable"]
    except (OSError, LookupError, ValueError):
        return []
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    if free < 2e9:
        return [Finding("memory", WARNING, found, "training needs about 2 GB; close programs")]
    return [Finding("memory", OK, found)]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(".").free
    found = f"{free / 1e9:.1f} GB free in this folder"
    if free < 1e9:
        return [Finding("disk", WARNING, found, "run folders need some 100 MB each; free space")]
    return [Finding("disk", OK, found)]


def _litert() -> list[Finding]:
    from core.command_line.quiet import tiny_tflite

    error = _probe(_LITERT_PROBE, tiny_tflite())
    if error:
        return [Finding("LiteRT runs a file", MISSING, error, "reinstall ai-edge-litert")]
    return [Finding("LiteRT runs a file", OK, "yes")]


def _tensorflow() -> list[Finding]:
    error = _probe(_TENSORFLOW_PROBE)
    if error:
        return [Finding("TensorFlow runs", MISSING, error, "reinstall tensorflow and keras")]
    return [Finding("TensorFlow runs", OK, "yes")]


def _open3d() -> list[Finding]:
    """Only the lidar app needs open3d, so nothing about it is more than a warning."""
    name = "open3d (lidar app)"
    try:
        version = metadata.version("open3d")
    except metadata.PackageNotFoundError:
        found, advice = "not installed", f"pip install '{PACKAGE}[lidar]' for the lidar app"
        if missing := _missing_libraries():
            advice += f", and apt install {' '.join(missing)}"
        return [Finding(name, OPTIONAL, found, advice)]
    if missing := _missing_libraries():
        found = f"{version}, lacks system libraries"
        return [Finding(name, WARNING, found, f"apt install {' '.join(missing)}")]
    if error := _probe("import open3d"):
        return [Finding(name, WARNING, error, f"pip install '{PACKAGE}[lidar]'")]
    return [Finding(name, OK, version)]


def _missing_libraries() -> list[str]:
    return check_libraries(_OPEN3D_LIBRARIES) if sys.platform == "linux" else []


def _tensorboard() -> list[Finding]:
    try:
        return [Finding("tensorboard", OK, metadata.version("tensorboard"))]
    except metadata.PackageNotFoundError:
        advice = f"pip install '{PACKAGE}[track]' to see trainings in TensorBoard"
        return [Finding("tensorboard", OPTIONAL, "not installed", advice)]


def _probe(code: str, content: bytes = b"") -> str:
    """Run code in a fresh interpreter; return its last line of error, or "" when it ran."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", code],
            input=content,
            capture_output=True,
            env=environment,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within two minutes"
    if child.returncode == 0:
        return ""
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"ended with exit code {child.returncode}"


def _from_checkout(path: Path) -> tuple[str, list[str]]:
    config = ConfigParser()
    if not config.read(path):
        return "", []
    lines = config.get("options", "install_requires", fallback="").splitlines()
    wanted = config.get("options", "python_requires", fallback="")
    return wanted, [line for line in lines if line.strip()]
