"""A network of three layers among those of re-identification, for what is not about OSNet."""

import pytest

from apps.person_reid.task import TASK


@pytest.fixture(scope="session")
def small_network():
    """The name of `small_embedder`, which the program knows from now on."""
    with pytest.MonkeyPatch.context() as patch:
        networks = {**TASK.networks, "small_embedder": "small_embedder:NETWORK"}
        patch.setattr(type(TASK), "networks", networks)
        yield "small_embedder"
