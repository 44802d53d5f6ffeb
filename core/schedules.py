"""Learning-rate schedules: one rate per epoch, a function of the config alone.

No schedule has state of its own, so a resumed training continues with the same rates.
"""

from __future__ import annotations

import math

from core.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch.

    During the first `warmup_epochs` (w) the rate rises linearly: epoch e has (e + 1) / (w + 1) of
    the peak, so epoch w, the first of the schedule itself, has the whole peak. With t epochs since
    the warm-up of T = epochs - w:

    - constant: peak
    - cosine: final + (peak - final) · (1 + cos(π t / T)) / 2  (SGDR, Loshchilov and Hutter,
      ICLR 2017, one cycle; the numbers of PyTorch's CosineAnnealingLR with T_max = T)
    - step: peak · step_factor ^ ⌊t / step_epochs⌋
    - poly: final + (peak - final) · (1 - t / T) ^ poly_power

    Args:
        config: The choices of the training.
        epoch: Counted from 0.
    """
    peak, final = config.learning_rate, config.final_learning_rate
    if epoch < config.warmup_epochs:
        return peak * (epoch + 1) / (config.warmup_epochs + 1)
    since = epoch - config.warmup_epochs
    part = min(1.0, since / max(1, config.epochs - config.warmup_epochs))
    match config.schedule:
        case "cosine":
            return final + (peak - final) * (1.0 + math.cos(math.pi * part)) / 2.0
        case "step":
            return peak * config.step_factor ** (since // config.step_epochs)
        case "poly":
            return final + (peak - final) * (1.0 - part) ** config.poly_power
        case _:
            return peak
