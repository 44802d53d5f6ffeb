"""What all networks of the domain have in common: their scale, and arguments that are no good."""

import pytest

from apps import catalog

NAMES = catalog.names("superres")
VARIANTS = [(name, variant) for name in NAMES for variant in catalog.network(name).variants]


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_enlarges_as_its_card_says(name, variant):
    scale = catalog.card(name, variant).decode["scale"]
    model = catalog.network(name).build(variant, (16, 24, 3))
    assert model.output_shape == (None, 16 * scale, 24 * scale, 3)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arguments_are_named(name):
    build = catalog.network(name).build
    with pytest.raises(ValueError, match="x9"):
        build("x9")
    with pytest.raises(ValueError, match=r"\(H, W, 3\) .*\(16, 16, 1\)"):
        build(input_shape=(16, 16, 1))
