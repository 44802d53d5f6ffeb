"""Table of contents: every system of the suite by name, without importing TensorFlow."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from core.errors import UserError, near_miss


@dataclass(frozen=True)
class App:
    """A domain: its command, its package, and a line for `gossamer apps`."""

    name: str
    package: str
    summary: str


@dataclass(frozen=True)
class System:
    """A published network: the app it belongs to and where its `Network` stands."""

    app: str
    title: str
    network: str


APPS = {
    "medseg": App("medseg", "apps.medical_segmentation", "medical image segmentation (2-D)"),
    "superres": App("superres", "apps.super_resolution", "super-resolution of photographs"),
    "reid": App("reid", "apps.person_reid", "person re-identification across cameras"),
}

SYSTEMS = {
    "mk_unet": System(
        "medseg",
        "MK-UNet: Multi-kernel Lightweight CNN for Medical Image Segmentation (ICCVW 2025)",
        "apps.medical_segmentation.models.mk_unet:NETWORK",
    ),
    "imdn": System(
        "superres",
        "IMDN: Lightweight Image Super-Resolution with Information Multi-distillation Network "
        "(ACM MM 2019)",
        "apps.super_resolution.models.imdn:NETWORK",
    ),
    "span": System(
        "superres",
        "SPAN: Swift Parameter-free Attention Network for Efficient Super-Resolution (CVPRW 2024)",
        "apps.super_resolution.models.span:NETWORK",
    ),
    "xlsr": System(
        "superres",
        "XLSR: Extremely Lightweight Quantization Robust Real-Time Single-Image Super Resolution "
        "(CVPRW 2021)",
        "apps.super_resolution.models.xlsr:NETWORK",
    ),
    "abpn": System(
        "superres",
        "ABPN: Anchor-based Plain Net for Mobile Image Super-Resolution (CVPRW 2021)",
        "apps.super_resolution.models.abpn:NETWORK",
    ),
    "osnet": System(
        "reid",
        "OSNet: Omni-Scale Feature Learning for Person Re-Identification (ICCV 2019, TPAMI 2021)",
        "apps.person_reid.models.osnet:NETWORK",
    ),
}


def names(app: str | None = None) -> tuple[str, ...]:
    """Return the names of all systems, or of one app's."""
    return tuple(name for name, system in SYSTEMS.items() if app in (None, system.app))


def network(name: str):
    """Return the `core.network.Network` of a system (imports Keras).

    Raises:
        UserError: When the catalog has no such system.
    """
    if name not in SYSTEMS:
        raise UserError(f"No such network: '{name}'.{near_miss(name, SYSTEMS)}")
    module, attribute = SYSTEMS[name].network.split(":")
    return getattr(importlib.import_module(module), attribute)


def build(name: str, variant: str | None = None, **arguments):
    """Return the `keras.Model` of a system, e.g. `build("mk_unet", variant="t", classes=3)`."""
    entry = network(name)
    return entry.build(entry.check_variant(variant), **arguments)


def card(name: str, variant: str | None = None):
    """Return the `ModelCard` of a system."""
    entry = network(name)
    return entry.card(entry.check_variant(variant))
