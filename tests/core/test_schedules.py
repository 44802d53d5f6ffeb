import pytest

from core.config import TrainConfig
from core.schedules import learning_rate


def rates(**choices) -> list[float]:
    config = TrainConfig(app="a", network="n", variant="v", **choices)
    return [learning_rate(config, epoch) for epoch in range(config.epochs)]


@pytest.mark.parametrize(
    "choices, expected",
    [
        ({"schedule": "constant", "epochs": 3, "learning_rate": 0.1}, [0.1, 0.1, 0.1]),
        # torch.optim.lr_scheduler.CosineAnnealingLR(T_max=4) on a rate of 0.1
        (
            {"schedule": "cosine", "epochs": 4, "learning_rate": 0.1},
            [0.1, 0.0853553391, 0.05, 0.0146446609],
        ),
        # ... with eta_min=0.02
        (
            {
                "schedule": "cosine",
                "epochs": 4,
                "learning_rate": 0.1,
                "final_learning_rate": 0.02,
            },
            [0.1, 0.0882842712, 0.06, 0.0317157288],
        ),
        (
            {
                "schedule": "step",
                "epochs": 5,
                "learning_rate": 1.0,
                "step_epochs": 2,
                "step_factor": 0.1,
            },
            [1.0, 1.0, 0.1, 0.1, 0.01],
        ),
        (
            {"schedule": "poly", "epochs": 4, "learning_rate": 1.0, "poly_power": 2.0},
            [1.0, 0.5625, 0.25, 0.0625],
        ),
        (
            {"schedule": "constant", "epochs": 5, "learning_rate": 0.4, "warmup_epochs": 3},
            [0.1, 0.2, 0.3, 0.4, 0.4],
        ),
        (
            {"schedule": "cosine", "epochs": 6, "learning_rate": 0.1, "warmup_epochs": 2},
            [0.1 / 3, 0.2 / 3, 0.1, 0.0853553391, 0.05, 0.0146446609],
        ),
    ],
)
def test_rate_of_each_epoch(choices, expected):
    assert rates(**choices) == pytest.approx(expected, abs=1e-9)


def test_warm_up_longer_than_the_training_only_rises():
    found = rates(epochs=2, warmup_epochs=3, learning_rate=0.4)
    assert found == pytest.approx([0.1, 0.2])
