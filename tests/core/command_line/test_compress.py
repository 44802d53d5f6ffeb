"""The command compress: what it prints and leaves, and one sentence for whatever is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_task
import yaml
from PIL import Image

from core.command_line.compress import parse_methods, split_settings
from core.errors import UserError
from core.run_folder import RunFolder
from core.training.compressing import started_chain


def refused(result, *, code=2) -> str:
    """Return the one sentence a command ended with; nothing else may be on the screen."""
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert "fault of the program" not in result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# --- what it prints and leaves ----------------------------------------------------------------


def test_a_chain_says_defaults_stages_results_and_the_next_step(small, toy_run, toy_data):
    out, result = small
    lines = result.stdout.splitlines()
    chosen = "epochs 1 a method, batch 3, learning rate 0.005"
    assert lines[0] == f"Defaults: data {toy_data}, {chosen}."
    assert lines[1:4] == [
        f"Prune: {out}/stages/1_prune", f"Cluster: {out}/stages/2_cluster", f"Quantize: {out}",
    ]  # fmt: skip
    assert f"{toy_run} → {out}" in lines
    table = [line.split() for line in lines if line.split()[:1] and " kB" in line]
    assert [row[0] for row in table] == ["before", "prune", "cluster", "quantize"]
    assert [row[2] for row in table] == ["float32"] * 3 + ["int8"]
    assert f"Measured with Keras on the test samples of {toy_data}; files as TFLite." in lines
    assert lines[-2:] == [f"Saved: {out}", f"Next: toy export {out} --precision int8"]
    assert result.stderr.count("epoch 1/1") == 3  # progress is no result


def test_every_choice_arrives(small, toy_run):
    out, _ = small
    plans = started_chain(out)
    choices = [plan.config.compress["choices"] for plan in plans]
    assert choices == [{"sparsity": 0.5}, {"clusters": 5}, {"decay": 0.9}]
    assert {plan.config.epochs for plan in plans} == {1}
    kernel = RunFolder(out / "stages" / "2_cluster").load_model().get_layer("head").kernel.numpy()
    assert (kernel == 0).mean() >= 0.45 and np.unique(kernel).size <= 5


def test_what_changed_is_kept_for_the_report(small):
    out, _ = small
    changes = {row["name"]: row for row in RunFolder(out).metrics()["compression"]["changes"]}
    assert changes["kernel parameters"] == {"name": "kernel parameters", "before": 27, "after": 27}
    assert changes["non-zero kernel parameters"]["after"] <= 14
    assert changes["most different values in a kernel"]["after"] <= 5


def test_json_is_pure_and_tells_every_stage(toy, toy_run, toy_data, tmp_path):
    out = tmp_path / "run"
    chain = ["compress", toy_run, "--method", "prune,quantize", "--out", out, "--quick", "--json"]
    result = toy(*chain)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["run"], found["headline"]) == (str(out), "accuracy")
    assert [row["stage"] for row in found["stages"]] == ["before", "prune", "quantize"]
    assert [row["run"] for row in found["stages"]] == [
        str(toy_run), f"{out}/stages/1_prune", str(out),
    ]  # fmt: skip
    before, pruned, last = found["stages"]
    assert pruned["best_epoch"] == 1 and last["best_epoch"] in (0, 1)
    assert (before["non_zero"], before["most_values"]) == (1.0, 27)
    assert pruned["non_zero"] == pytest.approx(7 / 27) and pruned["most_values"] <= 8
    assert last["precision"] == "int8" and 0 <= last["value"] <= 1
    assert all(0 < row["zip_bytes"] <= row["file_bytes"] for row in found["stages"])
    for said in (f"Defaults: data {toy_data}", f"Prune: {out}", f"Quantize: {out}", "epoch 1/1"):
        assert said in result.stderr
    config = RunFolder(out).config
    assert (config.epochs, config.steps_per_epoch) == (1, 2)


def test_where_results_are_compared_their_likeness_to_the_first_is_told(
    toy, toy_run, tmp_path, monkeypatch
):
    asked = []

    def agreement(self, reference, results, card):
        assert [sample.id for sample, _ in reference] == [sample.id for sample, _ in results]
        asked.append((reference, results))
        return [("halves told alike", len(asked) / 4, 1.0)]

    monkeypatch.setattr(type(small_task.TASK), "compares_results", True)
    monkeypatch.setattr(type(small_task.TASK), "agreement", agreement)
    out = tmp_path / "run"
    result = toy("compress", toy_run, "--method", "prune,quantize", "--quick", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "Prune, beside the network before: halves told alike 25.0%." in result.stdout
    assert "Quantize, beside the network before: halves told alike 50.0%." in result.stdout
    (first, pruned), (reference, quantized) = asked
    assert reference is first and quantized is not pruned


def test_sixteen_bit_activations_lead_to_their_own_precision(toy, toy_run, tmp_path):
    out = tmp_path / "run"
    arguments = ["compress", toy_run, "--method", "quantize", "--out", out, "--quick"]
    result = toy(*arguments, "--set", "quantize.activation_bits=16")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"Next: toy export {out} --precision int16x8"
    assert toy("export", out, "--precision", "int16x8").exit_code == 0
    verified = toy("verify", out / "export" / "run_int16x8.tflite")
    assert verified.exit_code == 0, verified.stderr


def test_a_layer_may_stay_in_float(toy, toy_run, tmp_path):
    out = tmp_path / "run"
    arguments = ["compress", toy_run, "--method", "quantize", "--out", out, "--quick"]
    result = toy(*arguments, "--float", "head")
    assert result.exit_code == 0, result.stderr
    assert RunFolder(out).config.compress["choices"] == {"exceptions": {"head": "float"}}
    exported = toy("export", out, "--precision", "int8")
    assert exported.exit_code == 0, exported.stderr


def test_words_that_yaml_takes_for_truth_values_are_words(toy, toy_run, tmp_path):
    out = tmp_path / "run"
    arguments = ["compress", toy_run, "--method", "prune", "--out", out, "--quick"]
    result = toy(*arguments, "--set", "options.scales=off", "--set", "clip_value=0.1")
    assert result.exit_code == 0, result.stderr
    config = RunFolder(out).config
    assert config.options == {"loss": "plain", "scales": "off"} and config.clip_value == 0.1


@pytest.mark.slow
def test_a_process_that_knows_nothing_of_compression_reads_the_result(small):
    script = (
        "import sys; from core.run_folder import RunFolder; "
        "print(RunFolder(sys.argv[1]).load_model().name)"
    )
    command = [sys.executable, "-c", script, str(small[0])]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.stdout == "small\n", result.stderr


# --- wrong use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "Nothing to do: pass --method, such as: --method quantize."),
        (["--method", "quantise"], "--method: no such method: 'quantise'. Did you mean 'quant"),
        (["--method", "prune,,quantize"], "--method: no such method: ''. Known: adapt, prune"),
        (["--method", ""], "--method: no such method: ''."),
        (["--method", "cluster,cluster"], "--method cluster,cluster names a method twice"),
        (["--method", "quantize,prune"], "Pruning comes before clustering and quantization"),
        (["--method", "prune", "--sparsity", "1.5"], "final_sparsity is 1.5; give the share"),
        (["--method", "prune", "--sparsity", "nan"], "final_sparsity is nan; give the share"),
        (["--method", "prune", "--sparsity", "much"], "Invalid value for '--sparsity'"),
        (["--method", "cluster", "--clusters", "1"], "takes a whole number from 2 to 1024."),
        (["--method", "cluster", "--clusters", "2.5"], "Invalid value for '--clusters'"),
        (["--method", "cluster", "--clusters", "100"], "small: has no kernel to cluster"),
        (["--method", "prune,cluster", "--clusters", "100"], "small: has no kernel to cluster"),
        (["--method", "quantize", "--sparsity", "0.5"], "given for 'prune', which is not in --me"),
        (["--method", "prune", "--float", "head"], "given for 'quantize', which is not in"),
        (["--method", "quantize", "--float", "hed"], "is called 'hed'. Did you mean 'head'"),
        (["--method", "prune,quantize", "--float", "hed"], "is called 'hed'. Did you mean 'head'?"),
        (["--method", "quantize", "--set", "quantize.weight_bit=4"], "Did you mean 'weight_bits'?"),
        (["--method", "quantize", "--set", "quantize.decay=slow"], "decay is 'slow'; give a nu"),
        (["--method", "quantize", "--set", "prune.sparsity=0.5"], "'prune' is not in --method."),
        (["--method", "prune", "--set", "epoch=3"], "no such key: 'epoch'. Did you mean 'epochs'?"),
        (["--method", "prune", "--set", "input_size=8"], "--set: no such key: 'input_size'."),
        (["--method", "prune", "--set", "compress={}"], "--set: no such key: 'compress'."),
        (["--method", "prune", "--set", "scales=off"], "Did you mean 'options.scales'?"),
        (["--method", "prune", "--set", "options.scale=off"], "'scale'. Did you mean 'scales'?"),
        (["--method", "prune", "--set", "options.scales=often"], "Option 'scales' is 'often'."),
        (["--method", "prune", "--set", "sparsity"], "--set sparsity: is no choice; write --set k"),
        (["--method", "prune", "--set", "epochs=2", "--epochs", "3"], "epochs is chosen by its o"),
        (["--method", "prune", "--set", "prune.sparsity=0.2", "--sparsity", "0.3"], "is chosen"),
        (["--method", "prune", "--set", "prune.end_step=9", "--set", "prune.frequency=3",
          "--epochs", "1"], "ends at step 9, after the training does (step 2)"),
        (["--method", "prune", "--set", "ema=0.9"], "trains in float32 and without ema"),
        (["--method", "prune", "--epochs", "0"], "Config: epochs is 0; it must be 1 or more."),
        (["--method", "prune", "--learning-rate", "-1"], "learning_rate is -1.0; it must be a pos"),
        (["--method", "prune", "--data", "nowhere"], "nowhere: no such file or folder; check --d"),
        (["--method", "prune", "--resume", "--overwrite"], "exclude each other; pass one of them."),
        (["--resume"], "holds no compression to resume; start one without --resume."),
        (["--resume", "--method", "prune"], "--resume goes on with what was chosen; pass it wi"),
        (["--resume", "--seed", "0"], "--resume goes on with what was chosen"),
        (["--metod", "prune"], "no such option: --metod. Did you mean --method?"),
    ],
)  # fmt: skip
def test_wrong_use_gets_one_sentence_and_leaves_nothing(toy, toy_run, tmp_path, arguments, said):
    out = tmp_path / "out"
    result = toy("compress", toy_run, "--out", out, *arguments)
    if result.stdout.startswith("Defaults: "):  # found when the first method began
        result.stdout = ""
    assert said in refused(result)
    assert not out.exists()


def test_a_run_that_is_none_of_ours(toy, run_copy, tmp_path):
    arguments = ["--method", "prune", "--out", tmp_path / "out"]
    assert "nowhere: is not a run folder (does not exist)" in refused(
        toy("compress", "nowhere", *arguments)
    )
    path = run_copy / "config.yaml"
    text = path.read_text()
    document = yaml.safe_load(text)
    document["config"]["app"] = "reid"
    path.write_text(yaml.safe_dump(document))
    assert "is a run of 'reid', not of 'toy'" in refused(toy("compress", run_copy, *arguments))
    path.write_text(text)
    (run_copy / "model.keras").write_bytes(b"PK cut off")
    for method in ("prune", "prune,quantize"):
        result = toy("compress", run_copy, "--out", tmp_path / "out", "--method", method)
        result.stdout = ""
        assert "model.keras: cannot be loaded (cut off or another file)" in refused(result)
    (run_copy / "model.keras").unlink()
    assert "holds no model.keras yet; finish the training" in refused(
        toy("compress", run_copy, *arguments)
    )
    assert not (tmp_path / "out").exists()


def test_an_import_says_what_it_needs(toy, tmp_path):
    weights = {
        "head.weight": np.ones((1, 3, 3, 3), np.float32),
        "head.bias": np.ones(1, np.float32),
    }
    np.savez(tmp_path / "small.npz", **weights)
    made = toy("import", "--checkpoint", tmp_path / "small.npz", "--out", tmp_path / "run")
    assert made.exit_code == 0, made.stderr
    arguments = ["compress", tmp_path / "run", "--method", "quantize", "--out", tmp_path / "q"]
    assert "run: nothing to fine-tune on; pass --data PATH." in refused(toy(*arguments))


def test_a_folder_with_files_is_left_alone(toy, toy_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = toy("compress", toy_run, "--method", "prune", "--out", tmp_path)
    result.stdout = ""
    assert "already holds files; choose another --out or pass --overwrite." in refused(result)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_run_itself_is_no_place_for_the_result(toy, toy_run):
    before = (toy_run / "model.keras").read_bytes()
    result = toy("compress", toy_run, "--method", "prune", "--out", toy_run, "--overwrite")
    assert "is the run to compress; choose another --out." in refused(result)
    assert (toy_run / "model.keras").read_bytes() == before


def test_a_quantized_run_is_not_quantized_again(toy, small, tmp_path):
    for method in ("quantize", "cluster,quantize", "prune"):
        result = toy("compress", small[0], "--method", method, "--out", tmp_path / "out")
        assert " the float network instead." in refused(result) or "comes before" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_is_named_and_nothing_is_left(toy, toy_run, tmp_path):
    data = small_task.write_data(tmp_path / "data")
    (data / "train_3.png").write_bytes(b"no picture")
    arguments = ["--method", "prune", "--data", data, "--out", tmp_path / "out"]
    result = toy("compress", toy_run, *arguments)
    result.stdout = ""
    assert "train_3.png: is not an image" in refused(result)
    assert not (tmp_path / "out").exists()


# --- resume and overwrite ---------------------------------------------------------------------


def stop_at(monkeypatch, stage: int):
    """Press Ctrl-C when the n-th stage begins."""
    from core.training import fit

    real, calls = fit.train, []

    def train(*args, **kwargs):
        calls.append(1)
        if len(calls) == stage:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(fit, "train", train)


def test_ctrl_c_says_how_to_go_on_and_so_it_does(toy, toy_run, tmp_path, monkeypatch):
    """Also after --quick, which takes a few of the samples only."""
    data = small_task.write_data(tmp_path / "data")
    for n in range(6, 12):  # more than --quick takes
        for end in ("", "_mask"):
            shutil.copy(data / f"train_{n - 6}{end}.png", data / f"train_{n}{end}.png")
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        arguments = ["--method", "prune,quantize", "--data", data, "--out", out, "--quick"]
        stopped = toy("compress", toy_run, *arguments)
    assert stopped.exit_code == 130
    command = f"toy compress {toy_run} --resume --out {out}"
    assert f"Stopped: go on with: {command}\n" in stopped.stderr
    other = shutil.copytree(toy_run, tmp_path / "other")
    assert f"was begun from {toy_run}, not from {other}; name that run." in refused(
        toy("compress", other, "--resume", "--out", out)
    )
    result = toy(*command.split()[1:], "--json")
    assert result.exit_code == 0, result.stderr
    assert [row["stage"] for row in json.loads(result.stdout)["stages"]] == [
        "before", "prune", "quantize",
    ]  # fmt: skip
    assert f"{out}/stages/1_prune: is finished (epoch 1); nothing to resume." in result.stderr
    again = toy(*command.split()[1:])
    assert again.exit_code == 0 and again.stderr.count("nothing to resume.") == 2


def test_changed_data_are_not_resumed_on(toy, toy_run, tmp_path, monkeypatch):
    data, out = small_task.write_data(tmp_path / "data"), tmp_path / "out"
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        arguments = ["--method", "prune,quantize", "--data", data, "--out", out, "--epochs", 1]
        assert toy("compress", toy_run, *arguments).exit_code == 130
    Image.new("RGB", (16, 16)).save(data / "train_0.png")
    result = toy("compress", toy_run, "--resume", "--out", out)
    result.stdout = ""
    assert f"{data}: is not the data {out}/stages/1_prune was started with" in refused(result)


def test_a_damaged_chain_is_explained(toy, toy_run, tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "chain.json").write_text('{"chain": 1, "sta')
    result = toy("compress", toy_run, "--resume", "--out", tmp_path)
    assert "chain.json: is damaged; compress again with --overwrite." in refused(result)


def test_an_older_result_is_replaced_on_request(toy, toy_run, tmp_path):
    out = tmp_path / "out"
    arguments = ["compress", toy_run, "--method", "prune", "--out", out, "--quick"]
    assert toy(*arguments).exit_code == 0
    result = toy(*arguments, "--overwrite", "--sparsity", 0.25)
    assert result.exit_code == 0, result.stderr
    kernel = RunFolder(out).load_model().get_layer("head").kernel.numpy()
    assert (kernel == 0).sum() == 7


# --- parts ------------------------------------------------------------------------------------


def test_methods_are_read_with_spaces_too():
    assert parse_methods(" prune, quantize") == ("prune", "quantize")


def test_settings_go_to_their_method_or_to_the_training():
    settings = {"quantize.weight_bits": 4, "weight_decay": 0.1, "options.loss": "plain"}
    choices, training = split_settings(small_task.TASK, settings, ("quantize",))
    assert choices == {"quantize": {"weight_bits": 4}}
    assert training == {"weight_decay": 0.1, "options": {"loss": "plain"}}
    for unknown in ("network", "initial_weights", "quantise.decay"):
        with pytest.raises(UserError, match=f"--set: no such key: '{unknown}'"):
            split_settings(small_task.TASK, {unknown: 1}, ("quantize",))
