"""Checkpoints are read exactly, whatever wrote them, and nothing in them is ever run."""

import os
import pickle
import struct
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from core.checkpoints import read
from core.errors import UserError

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1),
    "conv.bias": np.float32([1, -2, 3, 0.5]),
}


def same(found, expected) -> bool:
    return list(found) == list(expected) and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array)
        for name, array in expected.items()
    )


def archive(path):
    with np.load(path) as content:
        return dict(content)


@pytest.mark.parametrize("name", ["kinds_zip.pth", "kinds_legacy.pth"])
def test_every_kind_of_tensor_of_a_real_file(real, name):
    found = read(real / name)
    assert same(found, archive(real / "kinds.npz"))
    assert all(array.flags.writeable for array in found.values())


@pytest.mark.parametrize(
    "name", ["small_net_zip.pth", "small_net_legacy.pth", "small_net_module.pth"]
)
def test_training_checkpoints_and_whole_modules_of_real_files(real, name):
    content = archive(real / "small_net.npz")
    expected = {n.removeprefix("state/"): a for n, a in content.items() if n.startswith("state/")}
    assert same(read(real / name), expected)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_hand_made_files(writers, tmp_path, kind):
    assert same(read(getattr(writers, kind)(tmp_path / "a.pth", STATE)), STATE)


def test_the_content_decides_not_the_suffix(writers, tmp_path):
    assert same(read(writers.zip(tmp_path / "a.safetensors", STATE)), STATE)
    np.savez(tmp_path / "b.npz", **STATE)
    (tmp_path / "b.npz").rename(tmp_path / "b.bin")
    assert same(read(str(tmp_path / "b.bin")), STATE)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE, "model": {"x": STATE["conv.bias"]}, "optimizer": {"a": {"b": STATE}}},
        {"params": {"conv.bias": STATE["conv.bias"]}, "params_ema": STATE},
        {"model": None, "ema": STATE},
        {"model_state_dict": {"module." + name: array for name, array in STATE.items()}},
        {"net": {"backbone.model." + name: array for name, array in STATE.items()}},
        {"_orig_mod.module." + name: array for name, array in STATE.items()},
        {"n_averaged": np.int64([3]), **{"module." + name: a for name, a in STATE.items()}},
        [3, STATE],
        list(STATE.items()),
        {"my_weights": STATE, "epoch": 3, "optimizer_state": {"a": STATE["conv.bias"]}},
    ],
)
def test_wrappers_and_prefixes(writers, tmp_path, content):
    assert same(read(writers.zip(tmp_path / "a.pth", content)), STATE)


def test_a_prefix_that_only_some_entries_carry_stays(writers, tmp_path):
    state = {"model.weight": STATE["conv.bias"], "head.weight": STATE["conv.bias"]}
    assert same(read(writers.zip(tmp_path / "a.pth", state)), state)


def test_several_networks_keep_their_names(writers, tmp_path):
    content = {"generator": STATE, "discriminator": STATE}
    found = read(writers.zip(tmp_path / "a.pth", content))
    assert list(found) == [f"{part}.{name}" for part in content for name in STATE]


def test_a_plain_pickle_of_numpy_arrays(tmp_path):
    big_endian = {"conv.bias": STATE["conv.bias"].astype(">f4"), "fortran": np.eye(2, 3).T}
    for protocol in (2, 3, 4, 5):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps({"model": big_endian, "author": "me"}, protocol))
        assert same(read(path), {"conv.bias": STATE["conv.bias"], "fortran": np.eye(2, 3).T})


def test_safetensors_with_bfloat16(tmp_path):
    state = {
        **STATE,
        "mask": np.array([True, False]),
        "steps": np.array(7),
        "none": np.zeros((0, 2)),
    }
    safetensors.numpy.save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = read(tmp_path / "a.safetensors")
    assert same({name: found[name] for name in state}, state)

    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    raw = struct.pack("<HH", 0x3FC0, 0xC000)  # 1.5 and -2
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + raw)
    assert same(read(tmp_path / "b.safetensors"), {"w": np.float32([1.5, -2])})


def test_npz_never_unpickles(tmp_path):
    np.savez_compressed(tmp_path / "good.npz", **STATE)
    assert same(read(tmp_path / "good.npz"), STATE)
    np.savez(tmp_path / "bad.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"'a.npy' holds object values"):
        read(tmp_path / "bad.npz")


# --- nothing is run


class Order:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.order = function, arguments

    def __reduce__(self):
        return self.order


ORDERS = [
    (os.system, f"{os.name}.system"),
    (eval, "builtins.eval"),
    (exec, "builtins.exec"),
    (getattr, "builtins.getattr"),
    (__import__, "builtins.__import__"),
    (subprocess.Popen, "subprocess.Popen"),
    (subprocess.check_output, "subprocess.check_output"),
    (os.popen, "os.popen"),
]


@pytest.mark.parametrize("function, name", ORDERS, ids=[name for _, name in ORDERS])
@pytest.mark.parametrize("protocol", [2, 4])
def test_orders_are_refused_by_name(writers, tmp_path, function, name, protocol):
    proof = tmp_path / "ran"
    content = pickle.dumps({"state_dict": Order(function, f"touch {proof}")}, protocol)
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(content)
    for path in (
        writers.zip_pickle(tmp_path / "zip.pth", content),
        writers.legacy_pickle(tmp_path / "legacy.pth", content),
        plain,
    ):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(
            f"{path}: asks to run '{name}' while loading; such a file is not read."
        )
    assert not proof.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02(cposix\nsystem\nX\x04\x00\x00\x00trueo.",  # OBJ
        b"\x80\x02(X\x04\x00\x00\x00trueiposix\nsystem\n.",  # INST
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # an extension code
    ],
)
def test_every_way_to_call_is_refused(writers, tmp_path, program):
    with pytest.raises(UserError, match=r"asks to run '(posix.system|extension 1)'"):
        read(writers.zip_pickle(tmp_path / "a.pth", program))


def test_stand_ins_import_and_run_nothing(writers, tmp_path, monkeypatch):
    """A pickled object's class is recorded by name, even where it could be imported."""
    log = []
    module = types.ModuleType("zoo")

    class Net:
        def __new__(cls, *_):
            log.append("new")
            return super().__new__(cls)

        def __setstate__(self, state):
            log.append("state")

    Net.__module__, Net.__qualname__, module.Net = "zoo", "Net", Net
    monkeypatch.setitem(sys.modules, "zoo", module)
    net = Net()
    net.__dict__.update(_parameters={"w": STATE["conv.bias"]}, _buffers={}, _modules={})
    path = writers.zip(tmp_path / "a.pth", net)
    log.clear()
    monkeypatch.delitem(sys.modules, "zoo")
    assert same(read(path), {"w": STATE["conv.bias"]})
    assert log == []


# --- damaged and foreign files


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a PNG image"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"hello", "is not a checkpoint"),
        (b"\x80", "cut short or damaged"),
        (b"PK\x03\x04", "cut short or damaged"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path)


def test_missing_files_and_folders(tmp_path):
    (tmp_path / "mk_unet.pth").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no such file\. Did you mean 'mk_unet.pth'\?"):
        read(tmp_path / "mk_unt.pth")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "x")
    with pytest.raises(UserError, match="zip archive without a checkpoint"):
        read(tmp_path / "other.zip")


def test_no_tensors_and_big_endian(writers, tmp_path):
    with pytest.raises(UserError, match="holds no tensors"):
        read(writers.zip(tmp_path / "a.pth", {"epoch": 3}))
    with pytest.raises(UserError, match="big-endian"):
        read(writers.zip_pickle(tmp_path / "b.pth", b"\x80\x02}.", byteorder=b"big"))


@pytest.mark.parametrize(
    "offset, size, stride, message",
    [
        (0, (5,), (1,), "beyond its storage"),
        (4, (1,), (1,), "beyond its storage"),
        (-1, (2,), (1,), "impossible shape"),
        (0, (2, 2), (1,), "impossible shape"),
        (0, (2, 2), (-1, 1), "impossible shape"),
        (0, (2,), (2**62,), "beyond its storage"),
        (0, (2**40, 2**40), (0, 0), "far larger than the file"),
        (0, ("a",), (1,), "impossible shape"),
    ],
)
def test_tensors_stay_inside_their_storage(writers, tmp_path, offset, size, stride, message):
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x04tQ"
    )
    window = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, size, stride))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + b"\x89}tR"
    program = b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."
    path = writers.zip_pickle(tmp_path / "a.pth", program, {"0": bytes(16)})
    with pytest.raises(UserError, match=message):
        read(path)


def test_shared_content_nested_without_end(writers, tmp_path):
    """Thirty levels of "twice the level below" would be a thousand million names."""
    content = STATE
    for _ in range(30):
        content = {"a": content, "b": content}
    with pytest.raises(UserError, match="nested without end"):
        read(writers.zip(tmp_path / "a.pth", content))


def damaged_copies(path):
    """Yield the file cut at many lengths, then with single bytes changed."""
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        yield "cut", content[:length]
    generator = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(content)
        changed[generator.integers(len(content))] ^= int(generator.integers(1, 256))
        yield "changed", bytes(changed)


@pytest.fixture(params=["zip", "legacy", "module", "safetensors", "npz", "pickle"])
def sound_file(request, writers, tmp_path, real):
    path = tmp_path / "sound"
    match request.param:
        case "zip" | "legacy":
            return getattr(writers, request.param)(path, {"state_dict": STATE, "epoch": 3})
        case "module":
            return real / "small_net_module.pth"
        case "safetensors":
            safetensors.numpy.save_file(STATE, path)
        case "npz":
            with path.open("wb") as stream:
                np.savez_compressed(stream, **STATE)
        case "pickle":
            path.write_bytes(pickle.dumps(STATE))
    return path


def test_damage_is_an_error_sentence_never_a_crash(sound_file, tmp_path):
    path = tmp_path / "damaged.pth"
    for kind, content in damaged_copies(sound_file):
        path.write_bytes(content)
        try:
            found = read(path)
        except UserError:
            continue
        assert kind == "changed"
        assert all(isinstance(array, np.ndarray) for array in found.values())


def test_a_changed_weight_in_a_zip_file_is_noticed(writers, tmp_path):
    path = writers.zip(tmp_path / "a.pth", STATE)
    content = path.read_bytes()
    weight = STATE["conv.weight"].tobytes()
    path.write_bytes(content.replace(weight, bytes(len(weight))))
    with pytest.raises(UserError, match="checksum of archive/data/0 does not match"):
        read(path)


def test_importing_the_package_is_light():
    program = (
        "import sys, core.checkpoints; print({'keras', 'tensorflow', 'torch'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()", done.stderr
