"""What a generated data set is made with: the two published parameter sets and the choices.

T. J. O'Shea, N. West, "Radio Machine Learning Dataset Generation with GNU Radio", GRCon 2016;
V. Sathyanarayanan, P. Gerstoft, A. El Gamal, "RML22: Realistic Dataset Generation for Wireless
Modulation Classification", IEEE TWC 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from core.errors import UserError, no_such, one_of

FRAME = 128  # samples
AUDIO_RATE = 44_100.0  # Hz
# In sorted order, which is the label everywhere in the literature.
CLASSES = (
    "8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK", "PAM4", "QAM16", "QAM64", "QPSK", "WBFM",
)  # fmt: skip
CONVENTIONS: Mapping[str, str] = MappingProxyType(
    {
        "radioml2016": "the label L is a noise amplitude of 10^(-L/10): about 2 L dB",
        "db": "the label L is a noise amplitude of 10^(-L/20): L dB below amplitude 1",
    }
)
AMSSB: Mapping[str, str] = MappingProxyType(
    {
        "as_released": "AM-SSB holds no signal, only noise, as in the released files",
        "corrected": "AM-SSB is the upper sideband of the audio",
    }
)
_ETU_NANOSECONDS = (0, 50, 120, 200, 230, 500, 1600, 2300, 5000)
_ETU_DECIBELS = (-1, -1, -1, 0, 0, 0, -3, -5, -7)
_RML22_RATE = 2 / 66.67e-6


@dataclass(frozen=True)
class Parameters:
    """A published parameter set.

    Attributes:
        name: As on the command line.
        classes: Those it has, sorted.
        snrs: Its SNR labels.
        snr_convention: Its own; one of `CONVENTIONS`.
        sample_rate: Of the channel, in Hz.
        sps: Samples per symbol.
        roll_off: Of the root-raised cosine.
        sensitivity: GFSK's phase step in radians for a filtered value of 1.
        bandwidth_time: GFSK's bandwidth times the symbol period.
        audio_gain: WBFM's audio samples are zero-stuffed by this much.
        emphasis: Whether WBFM's audio is pre-emphasised.
        doppler: Largest, in Hz.
        rician: Power of the first path's line of sight over its rest; 0 is Rayleigh.
        delays: Of the paths, in samples.
        magnitudes: Of the paths.
        clock: "walks" (sample rate and carrier drift apart), or "crystal" (one error, 100 times as
            large on the carrier).
        clock_step: Standard deviation of the drift in Hz per sample.
        clock_most: Largest (sample rate's, carrier's) offset of "walks", or the crystal's first
            error of "crystal", in Hz.
    """

    name: str
    classes: tuple[str, ...]
    snrs: tuple[int, ...]
    snr_convention: str
    sample_rate: float
    sps: int
    roll_off: float
    sensitivity: float
    bandwidth_time: float
    audio_gain: int
    emphasis: bool
    doppler: float
    rician: float
    delays: tuple[float, ...]
    magnitudes: tuple[float, ...]
    clock: str
    clock_step: float
    clock_most: tuple[float, ...]


PARAMETERS: Mapping[str, Parameters] = MappingProxyType(
    {
        "radioml2016": Parameters(
            name="radioml2016",
            classes=CLASSES,
            snrs=tuple(range(-20, 20, 2)),
            snr_convention="radioml2016",
            sample_rate=200e3,
            sps=8,
            roll_off=0.35,
            sensitivity=0.1,
            bandwidth_time=0.35,
            audio_gain=5,
            emphasis=False,
            doppler=1.0,
            rician=4.0,
            delays=(0.0, 0.9, 1.7),
            magnitudes=(1.0, 0.8, 0.3),
            clock="walks",
            clock_step=0.01,
            clock_most=(50.0, 500.0),
        ),
        "rml22": Parameters(
            name="rml22",
            classes=tuple(name for name in CLASSES if name != "AM-SSB"),
            snrs=tuple(range(-20, 21, 2)),
            snr_convention="db",
            sample_rate=_RML22_RATE,
            sps=2,
            roll_off=0.35,
            sensitivity=1.57,
            bandwidth_time=0.3,
            audio_gain=1,
            emphasis=True,
            doppler=70.0,
            rician=0.0,
            delays=tuple(1e-9 * delay * _RML22_RATE for delay in _ETU_NANOSECONDS),
            magnitudes=tuple(10 ** (level / 20) for level in _ETU_DECIBELS),
            clock="crystal",
            clock_step=1e-4,
            clock_most=(5.0,),
        ),
    }
)


@dataclass(frozen=True)
class Recipe:
    """Every choice behind a generated data set; the same recipe gives the same bytes.

    Attributes:
        parameters: Name of a parameter set.
        snr_convention: One of `CONVENTIONS`; "" takes the set's own.
        amssb: One of `AMSSB`.
        independent_channels: Whether every frame has a channel of its own. Without, all streams
            pass through the same one and the same 8,192 samples of noise, as in the released files.
        seed: From 0.

    Raises:
        UserError: When a choice is none of the known ones.
    """

    parameters: str = "radioml2016"
    snr_convention: str = ""
    amssb: str = "as_released"
    independent_channels: bool = True
    seed: int = 0

    def __post_init__(self):
        if self.parameters not in PARAMETERS:
            raise no_such("parameter set", self.parameters, PARAMETERS)
        if not self.snr_convention:
            object.__setattr__(self, "snr_convention", self.set.snr_convention)
        one_of(self.snr_convention, CONVENTIONS, "The SNR convention")
        one_of(self.amssb, AMSSB, "The AM-SSB")
        if not self.independent_channels and self.set.clock != "walks":
            raise UserError(
                f"{self.parameters}: every frame has a channel of its own; one for all belongs to "
                "radioml2016."
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(f"Received {self.seed} as seed; choose a number from 0 to {2**63 - 1}.")

    @property
    def set(self) -> Parameters:
        """The parameter set."""
        return PARAMETERS[self.parameters]

    def record(self) -> dict[str, Any]:
        """Return the choices, their meaning and the set's numbers, ready for JSON."""
        return {
            **asdict(self),
            "snr_meaning": CONVENTIONS[self.snr_convention],
            "amssb_meaning": AMSSB[self.amssb],
            "parameters": asdict(self.set),
        }
