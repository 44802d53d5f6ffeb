import keras
import numpy as np
import pytest

from core.config import TrainConfig
from core.training.optimizers import WeightAverage, make_optimizer


def after_one_step(gradients, weights, **choices) -> list[float]:
    config = TrainConfig(app="a", network="n", variant="v", learning_rate=0.1, **choices)
    variable = keras.Variable(np.array(weights, np.float32))
    optimizer = make_optimizer(config)
    optimizer.apply([keras.ops.convert_to_tensor(gradients, "float32")], [variable])
    return variable.numpy().tolist()


@pytest.mark.parametrize(
    "choices, expected",
    [
        # w - 0.1 · (g + decay · w)
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}, [0.7, 1.6]),
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.5}, [0.65, 1.5]),
        # element-wise limit 1, then the decay, which is not clipped
        (
            {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.5, "clip_value": 1.0},
            [0.85, 1.8],
        ),
        # |g| = 5, scaled to 1
        (
            {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 1.0},
            [0.94, 1.92],
        ),
        # first Adam step is the rate, whatever the gradient; AdamW: first w · (1 - 0.1 · 0.5)
        ({"optimizer": "adam", "weight_decay": 0.0}, [0.9, 1.9]),
        ({"optimizer": "adamw", "weight_decay": 0.5}, [0.85, 1.8]),
        # a share s·g / (s·g + epsilon) of it, s = sqrt(1 - 0.999)
        ({"optimizer": "adam", "weight_decay": 0.0, "epsilon": 1.0}, [0.991335, 1.988771]),
        ({"optimizer": "adamw", "weight_decay": 0.0, "epsilon": 1.0}, [0.991335, 1.988771]),
    ],
)
def test_one_step(choices, expected):
    assert after_one_step([3.0, 4.0], [1.0, 2.0], **choices) == pytest.approx(expected, abs=1e-6)


def test_average_follows_with_a_rising_decay():
    variable = keras.Variable(np.zeros(1, np.float32))
    counter = keras.Variable(np.array(3, np.uint32), dtype="uint32")
    average = WeightAverage([variable, counter], decay=0.2)
    variable.assign([11.0])
    counter.assign(8)
    average.update()  # decay is still 2/11
    assert average.values()[0].tolist() == pytest.approx([9.0])
    assert average.values()[1] == 8
    average.update()  # now min(0.2, 3/12) = 0.2
    assert average.values()[0].tolist() == pytest.approx([10.6])
