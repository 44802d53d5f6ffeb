"""The contract battery over every entry of the catalog."""

import contract
import pytest
from mostly_slow import mostly_slow

from apps import catalog

# Networks small enough for the quick suite; the others are built whole, learn, and are saved and
# made files in the slow one.
QUICK = {"abpn", "kd_cnn", "kd_mobilenet", "mobilenetv2", "pet_cgdnn", "vt_cnn2"}

SMALLEST = {(name, contract.smallest(name)) for name in catalog.names()}

per_variant = pytest.mark.parametrize("name, variant", mostly_slow(contract.VARIANTS, SMALLEST))
per_system = pytest.mark.parametrize("name", catalog.names())
per_system_at_length = pytest.mark.parametrize("name", mostly_slow(catalog.names(), QUICK))


@per_variant
def test_parameters_are_the_published_ones(name, variant):
    contract.check_parameters(name, variant)


@per_variant
def test_multiplications_are_the_published_ones(name, variant):
    contract.check_macs(name, variant)


@per_variant
def test_layer_names_are_unique(name, variant):
    contract.check_layer_names_are_unique(name, variant)


@per_system_at_length
def test_layer_names_are_stable(name):
    contract.check_layer_names_are_stable(name)


@per_system_at_length
def test_the_seed_decides_the_start(name):
    contract.check_seed_decides_the_start(name)


@per_system
def test_refuses_a_size_that_does_not_fit(name):
    contract.check_refuses_wrong_size(name)


@per_system_at_length
def test_the_deployable_network_computes_the_same(name):
    contract.check_deploy(name)


@pytest.mark.parametrize(
    "name", mostly_slow([n for n in catalog.names() if catalog.network(n).features], QUICK)
)
def test_feature_maps_have_their_strides(name):
    contract.check_feature_maps(name)


@per_system_at_length
def test_open_size_computes_the_same(name):
    contract.check_open_size_equals_fixed(name)


@per_system_at_length
def test_saves_and_loads(name, tmp_path):
    contract.check_save_and_load(name, tmp_path)


@per_system_at_length
def test_learns(name):
    contract.check_learns(name)


@per_system_at_length
def test_float_file_agrees_with_keras(name):
    contract.check_float_file(name)


@per_system_at_length
def test_int8_file_is_integer_and_close(name):
    contract.check_int8_file(name)
