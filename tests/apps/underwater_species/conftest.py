"""A network of two convolutions among those of underwater species, for what is about no other."""

import pytest

from apps.underwater_species.task import TASK


@pytest.fixture(scope="module")
def small_network():
    """The name of `color_task`'s network, which the program knows from now on."""
    with pytest.MonkeyPatch.context() as patch:
        networks = {**TASK.networks, "colour_net": "color_task:NETWORK"}
        patch.setattr(type(TASK), "networks", networks)
        yield "colour_net"
