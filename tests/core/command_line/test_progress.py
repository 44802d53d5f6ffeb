import io

from rich.console import Console

from core.command_line.progress import TrainingProgress

ROW = {"epoch": 2, "learning_rate": 0.01, "loss": 0.123456, "val_dice": 0.9}
TIMING = {"epoch": 2, "seconds": 1.0, "samples_per_second": 12.34}


def show(**options) -> str:
    stream = io.StringIO()
    progress = TrainingProgress(console=Console(file=stream, width=100, **options))
    progress.note("runs/a [b]: goes on after epoch 1.")
    progress.start(3, 10, first_epoch=1)
    progress.step(2, 5, {"loss": 0.5})
    progress.step(2, 10, {"loss": 0.4})
    progress.epoch(2, ROW, TIMING)
    progress.stop()
    progress.stop()
    return stream.getvalue()


def test_a_line_per_epoch_where_there_is_no_terminal():
    assert show() == (
        "runs/a [b]: goes on after epoch 1.\nepoch 2/3  loss 0.1235  val_dice 0.9  12.3 samples/s\n"
    )


def test_a_bar_on_a_terminal():
    shown = show(force_terminal=True)
    assert "epoch 2/3" in shown
    assert "loss 0.4000" in shown
    assert "samples/s" in shown
    assert "val_dice 0.9" in shown


def test_of_many_metrics_the_headline_comes_first_and_a_few_others():
    stream = io.StringIO()
    progress = TrainingProgress("f1", Console(file=stream, width=100))
    progress.start(3, 8)
    progress.epoch(
        1, {"loss": 1.0, **{f"val_{name}": 0.5 for name in "abcde"}, "val_f1": 1}, TIMING
    )
    assert "loss 1  val_f1 1  val_a 0.5  val_b 0.5  val_c 0.5  12.3" in stream.getvalue()
