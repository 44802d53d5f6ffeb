"""A chain that is killed goes on as if it had not been; one that fails leaves what was good."""

import errno
import shutil

import numpy as np
import pytest
import toy_task
from chains import Killed, KilledAt, compress, planned, results, resume
from test_fit import result_of
from toy_task import ToyTask

from core import files, run_folder
from core.errors import CheckFailed, UserError
from core.history import epochs
from core.run_folder import RunFolder
from core.training import compressing
from core.training import state as state_module
from core.training.compressing import CHAIN, run_chain, started_chain
from core.training.state import STATE

# --- killed and resumed -----------------------------------------------------------------------

# Before anything is written, before the network is sparse, between two epochs, within one, with
# statistics and ranges frozen, after the last.
WALKS = {
    "often": [("prune", "step", 2), ("prune", "epoch", 1), ("cluster", "epoch", 2),
              ("quantize", "step", 3), ("quantize", "epoch", 2)],
    "late": [("prune", "epoch", 3), ("cluster", "step", 2), ("cluster", "step", 5),
             ("quantize", "epoch", 1), ("quantize", "epoch", 3)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS)
def test_a_chain_killed_again_and_again_ends_as_one_that_was_not(
    walk, whole, source, toy_data, tmp_path
):
    out = tmp_path / "small"
    for position, (method, kind, number) in enumerate(WALKS[walk]):
        killer = KilledAt(method, **{kind: number})
        with pytest.raises(Killed):
            if position:
                resume(toy_data, out, killer=killer)
            else:
                compress(source, toy_data, out, killer=killer)
    runs = resume(toy_data, out)
    assert [run.path for run in runs] == [plan.folder for plan in started_chain(out)]
    assert results(out) == results(whole)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("write", [1, 2, 3, 6])
def test_killed_around_a_file_of_a_stage(write, source, toy_data, tmp_path, monkeypatch):
    """Config, state, model, two tables, state, …: the n-th is half-written."""
    methods = ("cluster",)
    expected = compress(source, toy_data, tmp_path / "whole", methods)
    out, calls = tmp_path / "small", []

    def dying(path, content):
        calls.append(path)
        if len(calls) < write:
            return files.write_atomic(path, content)
        path.parent.mkdir(exist_ok=True)
        path.with_name(f".{path.stem}.unfinished{path.suffix}").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patched:
        for module in (state_module, run_folder):
            patched.setattr(module, "write_atomic", dying)
        with pytest.raises(Killed):
            compress(source, toy_data, out, methods)
    assert [result_of(run) for run in resume(toy_data, out)] == [result_of(r) for r in expected]
    assert not list(out.rglob(".*"))


def test_killed_before_its_first_stage(source, toy_data, tmp_path, monkeypatch):
    """Within its record the same command begins it again; after it, it can be resumed."""
    out, announced = tmp_path / "small", []

    def half_written(path, _):
        path.parent.mkdir(parents=True)
        path.with_name(".chain.unfinished.json").write_text('{"chain": "a", "sta')
        raise Killed

    def announce(plan):
        announced.append(plan.begun)
        raise Killed

    plans = planned(source, out, ("prune",))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("core.training.compressing.write_json", half_written)
        run_chain(ToyTask(), plans, index=toy_data)
    with pytest.raises(UserError, match="holds no compression to resume; start one without"):
        started_chain(out)
    with pytest.raises(Killed):
        run_chain(ToyTask(), plans, index=toy_data, announce=announce)
    assert not list(out.rglob(".*"))
    with pytest.raises(Killed):
        run_chain(ToyTask(), started_chain(out), index=toy_data, resume=True, announce=announce)
    assert announced == [False, False]


@pytest.mark.slow
def test_a_finished_chain_says_so(whole, toy_data, tmp_path):
    before, seen = results(whole), KilledAt("prune", step=1)
    resume(toy_data, whole, killer=seen)
    assert [note.partition(": ")[2] for note in seen.notes] == [
        "is finished (epoch 3); nothing to resume."
    ] * 3
    assert seen.calls == [] and results(whole) == before


@pytest.mark.slow
def test_a_source_that_is_gone_is_named(source, toy_data, tmp_path):
    copy = RunFolder(shutil.copytree(source.path, tmp_path / "source"))
    with pytest.raises(Killed):
        compress(copy, toy_data, tmp_path / "run", ("prune",), killer=KilledAt("prune", epoch=1))
    shutil.rmtree(copy.path)
    with pytest.raises(UserError, match=r"source: is not a run folder \(does not exist\)"):
        resume(toy_data, tmp_path / "run")
    assert (tmp_path / "run" / STATE).is_file()  # what was reached is kept
    shutil.copytree(source.path, copy.path)
    assert epochs(resume(toy_data, tmp_path / "run")[0].history()) == 3


@pytest.mark.parametrize(
    "content",
    [
        "", "not JSON", "null", "[]", "{}", '{"chain": "a", "stages": []}',
        '{"chain": "a", "stages": [3]}', '{"chain": "a", "stages": [{"method": "prune"}]}',
        '{"chain": "a", "stages": [{"method": "prune", "folder": ".", "config": []}]}',
        '{"chain": "a", "stages": [{"method": "prune", "folder": ".", "config": {"app": 3}}]}',
        b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_damaged_record_is_explained(content, tmp_path):
    (tmp_path / CHAIN).parent.mkdir()
    (tmp_path / CHAIN).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"chain\.json: is damaged; compress again with --overwri"):
        started_chain(tmp_path)


def test_nothing_to_resume(source, tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path, source.path):
        with pytest.raises(UserError, match="holds no compression to resume; start one without"):
            started_chain(folder)


# --- failures ---------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_chain_that_reaches_nothing_leaves_nothing(source, toy_data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(np, "savez", full)
        compress(source, toy_data, out, ("prune", "quantize"))
    assert not out.exists()
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr("core.training.fit._Session._fit", out_of_memory)
        compress(source, toy_data, out, ("prune", "quantize"))
    assert not out.exists()
    broken = toy_task.write_data(tmp_path / "data")
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"5\.png: is no picture; replace it"):
        compress(source, broken, out, ("cluster",))
    assert not out.exists()
    plans = planned(source, out, ("prune",), {"prune": {"end_step": 700}})
    with pytest.raises(UserError, match=r"ends at step 700, after the training does \(step 9\)"):
        run_chain(ToyTask(), plans, index=toy_data)
    assert not out.exists()
    (out / "mine").mkdir(parents=True)
    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(compressing, "write_json", lambda *_: _explained_full(out))
        compress(source, toy_data, out, ("prune",), overwrite=True)
    assert [path.name for path in out.rglob("*")] == ["mine"]


def out_of_memory(*_):
    raise MemoryError


def _explained_full(path):
    with files.explained(path):
        full()


@pytest.mark.slow
def test_a_full_disk_in_a_later_stage_keeps_the_earlier_ones(
    whole, source, toy_data, tmp_path, monkeypatch
):
    out, real, calls = tmp_path / "run", np.savez, []

    def savez(*args, **arrays):
        calls.append(1)
        if len(calls) == 4:  # the first state of the second stage
            full()
        real(*args, **arrays)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(np, "savez", savez)
        compress(source, toy_data, out)
    assert sorted(path.name for path in (out / "stages").iterdir()) == ["1_prune", "chain.json"]
    assert not (out / "config.yaml").exists()
    resume(toy_data, out)
    assert results(out) == results(whole)


@pytest.mark.slow
def test_a_stage_that_diverges_keeps_its_last_good_state(source, toy_data, tmp_path):
    options = {"heads": 1, "explode_after": 5}
    with pytest.raises(CheckFailed, match=r"loss is NaN at epoch 2, step 3; the last good check"):
        compress(source, toy_data, tmp_path / "run", ("quantize",), options=options)
    assert epochs(RunFolder(tmp_path / "run").history()) == 1
    assert started_chain(tmp_path / "run")[0].begun
