"""Table of contents: every system of the suite by name, without importing TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class App:
    """A domain: its command, its package, and a line for `gossamer apps`."""

    name: str
    package: str
    summary: str


@dataclass(frozen=True)
class System:
    """A published network.

    Attributes:
        app: The app it belongs to, or `BACKBONE` for what several may build upon.
        title: Its short name and where it was published; its card has the paper's title.
        module: Where its `core.network.Network` stands, under the name NETWORK.
    """

    app: str
    title: str
    module: str

    @property
    def network(self) -> str:
        """The `Network` as "module:attribute"."""
        return f"{self.module}:NETWORK"


BACKBONE = "backbone"

APPS = {
    "medseg": App("medseg", "apps.medical_segmentation", "medical image segmentation (2-D, 3-D)"),
    "superres": App("superres", "apps.super_resolution", "super-resolution of photographs"),
    "reid": App("reid", "apps.person_reid", "person re-identification across cameras"),
    "fetal": App("fetal", "apps.fetal_planes", "standard planes of fetal ultrasound"),
    "aqua": App("aqua", "apps.underwater_species", "underwater species"),
    "modrec": App("modrec", "apps.modulation_recognition", "modulation of radio signals"),
    "lines": App("lines", "apps.line_segments", "line segments of photographs"),
    "bev": App("bev", "apps.bev_localization", "where a LiDAR scan was taken"),
}

SYSTEMS = {
    "mk_unet": System("medseg", "MK-UNet (ICCVW 2025)", "apps.medical_segmentation.models.mk_unet"),
    "barlow_swin": System(
        "medseg", "Barlow-Swin (arXiv 2025)", "apps.medical_segmentation.models.barlow_swin"
    ),
    "lightm_unet": System(
        "medseg", "LightM-UNet (arXiv 2024)", "apps.medical_segmentation.models.lightm_unet"
    ),
    "imdn": System("superres", "IMDN (ACM MM 2019)", "apps.super_resolution.models.imdn"),
    "span": System("superres", "SPAN (CVPRW 2024)", "apps.super_resolution.models.span"),
    "xlsr": System("superres", "XLSR (CVPRW 2021)", "apps.super_resolution.models.xlsr"),
    "abpn": System("superres", "ABPN (CVPRW 2021)", "apps.super_resolution.models.abpn"),
    "osnet": System("reid", "OSNet (ICCV 2019)", "apps.person_reid.models.osnet"),
    "fetal_net": System(
        "fetal", "FetalNet (after arXiv:2410.17396)", "apps.fetal_planes.models.fetal_net"
    ),
    "clst": System(
        "modrec", "ClST-style (after IEEE TWC 2024)", "apps.modulation_recognition.models.clst"
    ),
    "kd_cnn": System(
        "modrec", "KD-CNN (after IEEE TWC 2024)", "apps.modulation_recognition.models.kd_cnn"
    ),
    "kd_mobilenet": System(
        "modrec",
        "KD-MobileNet (after IEEE TWC 2024)",
        "apps.modulation_recognition.models.kd_mobilenet",
    ),
    "vt_cnn2": System(
        "modrec", "VT-CNN2 (arXiv 2016)", "apps.modulation_recognition.models.vt_cnn2"
    ),
    "cnn1": System(
        "modrec", "CNN1 (AMR benchmark 2022)", "apps.modulation_recognition.models.cnn1"
    ),
    "cnn2": System(
        "modrec", "CNN2 (AMR benchmark 2022)", "apps.modulation_recognition.models.cnn2"
    ),
    "ic_amcnet": System(
        "modrec", "IC-AMCNet (AMR benchmark 2022)", "apps.modulation_recognition.models.ic_amcnet"
    ),
    "amr_resnet": System(
        "modrec",
        "ResNet for AMR (AMR benchmark 2022)",
        "apps.modulation_recognition.models.amr_resnet",
    ),
    "mcldnn": System(
        "modrec", "MCLDNN (IEEE WCL 2020)", "apps.modulation_recognition.models.mcldnn"
    ),
    "pet_cgdnn": System(
        "modrec", "PET-CGDNN (IEEE CL 2021)", "apps.modulation_recognition.models.pet_cgdnn"
    ),
    "lsdnet": System("lines", "LSDNet (IEEE Access 2022)", "apps.line_segments.models.lsdnet"),
    "mlsd": System("lines", "M-LSD (AAAI 2022)", "apps.line_segments.models.mlsd"),
    # BEVPlace of 2023 takes images and sampling points; it is a model without a place here.
    "rein": System("bev", "REIN of BEVPlace++ (T-RO 2025)", "apps.bev_localization.models.rein"),
    "ghostnetv2": System(BACKBONE, "GhostNetV2 (NeurIPS 2022)", "core.backbones.ghostnetv2"),
    "mobilenetv2": System(BACKBONE, "MobileNetV2 (CVPR 2018)", "core.backbones.mobilenetv2"),
    "squeezenet": System(BACKBONE, "SqueezeNet 1.1 (arXiv 2016)", "core.backbones.squeezenet"),
    "resnet": System(BACKBONE, "ResNet-50 (CVPR 2016)", "core.backbones.resnet"),
    "densenet": System(BACKBONE, "DenseNet-121 (CVPR 2017)", "core.backbones.densenet"),
    "vgg": System(BACKBONE, "VGG-19 (ICLR 2015)", "core.backbones.vgg"),
    "inceptionv3": System(BACKBONE, "Inception-v3 (CVPR 2016)", "core.backbones.inceptionv3"),
    "convnext": System(BACKBONE, "ConvNeXt-Base (CVPR 2022)", "core.backbones.convnext"),
    "regnet": System(BACKBONE, "RegNetX-32GF (CVPR 2020)", "core.backbones.regnet"),
    "shufflenetv2": System(BACKBONE, "ShuffleNetV2 (ECCV 2018)", "core.backbones.shufflenetv2"),
    "efficientnet": System(BACKBONE, "EfficientNet-B0 (ICML 2019)", "core.backbones.efficientnet"),
    "efficientnetv2": System(
        BACKBONE, "EfficientNetV2-B0 (ICML 2021)", "core.backbones.efficientnetv2"
    ),
    "efficientnet_lite": System(
        BACKBONE, "EfficientNet-Lite (TensorFlow 2020)", "core.backbones.efficientnet_lite"
    ),
}


def names(app: str | None = None) -> tuple[str, ...]:
    """Return the names of all systems, or of one app's (`BACKBONE`: those of no app)."""
    return tuple(name for name, system in SYSTEMS.items() if app in (None, system.app))


def networks(app: str | None = None) -> dict[str, str]:
    """Return where the networks of all systems, or of one app's, stand, by name."""
    return {name: SYSTEMS[name].network for name in names(app)}


def network(name: str):
    """Return the `core.network.Network` of a system (imports Keras).

    Raises:
        UserError: When the catalog has no such system.
    """
    from core.network import network_named

    return network_named(name, networks())


def build(name: str, variant: str | None = None, **arguments):
    """Return the `keras.Model` of a system, e.g. `build("mk_unet", variant="t", classes=3)`."""
    entry = network(name)
    return entry.build(entry.check_variant(variant), **arguments)


def card(name: str, variant: str | None = None):
    """Return the `ModelCard` of a system."""
    entry = network(name)
    return entry.card(entry.check_variant(variant))
