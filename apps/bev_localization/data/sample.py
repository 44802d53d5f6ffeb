"""The sample data: a small simulated town, made when it is first asked for, and two real scans."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from apps.bev_localization.data.simulated import RECORD
from core.data.generated import generated

# Two scans of a street that were really measured, a folder as the format "scans" reads it.
REAL_PAIR = Path(__file__).resolve().parent.parent / "sample_scans"
VERSION = 1  # of what is below; the simulator has its own
SCANS, QUERIES, SCENARIOS, SEED = 48, 32, ("opposite",), 5


@cache
def sample_data() -> Path:
    """Return the folder of the sample data: a street driven along, and back in the other direction.

    Raises:
        UserError: When it has to be made and open3d cannot be imported.
    """
    from apps.bev_localization.simulator.dataset import VERSION as SIMULATOR

    return generated(f"bev-sample-{SIMULATOR}.{VERSION}", RECORD, _write)


def _write(folder: Path) -> dict[str, Any]:
    from apps.bev_localization.simulator.dataset import simulate

    return simulate(folder, scans=SCANS, queries=QUERIES, scenarios=SCENARIOS, seed=SEED)
