"""What is shown while training: a line as each epoch ends, what is under way in between."""

import re

from lalia import terminal
from lalia.progress import Progress
from lalia.settings import EarlyStopping
from lalia.terminal import LineProgress
from lalia.training.history import in_words
from lalia.training.loop import fit
from toy_data import make_table
from toy_training import make_sets, make_trained_rater, settings

ROW = {"epoch": 12, "train_loss": 0.5, "validation_loss": 0.25, "seconds": 100.0, "is_best": False}


class Events(Progress):
    """Keeps what it is told, in order."""

    def __init__(self):
        self.told = []

    def start(self, title, total):
        self.told.append(title)

    def say(self, line):
        self.told.append(line)


def test_losses_and_the_metric_come_as_each_epoch_ends(tmp_path):
    rater = make_trained_rater()
    events = Events()
    stopping = EarlyStopping(metric="qwk", patience=3)
    result = fit(
        rater, *make_sets(make_table(tmp_path), rater), settings(early_stopping=stopping), seed=1, progress=events
    )
    told = [each for each in events.told if each.startswith("epoch")]
    assert [line.partition("|")[0].split() for line in told[1::2]] == [["epoch", "1"], ["epoch", "2"], ["epoch", "3"]]
    assert told[::2] == [f"epoch {number} of 3" for number in (1, 2, 3)]
    for line, row in zip(told[1::2], result.history, strict=True):
        assert f"training loss {row['train_loss']:.4f} | validation loss {row['validation_loss']:.4f} | qwk" in line
        assert f"qwk {row['validation_qwk']:.3f}" in line
        assert ("best so far" in line) == row["is_best"]


def test_the_lines_of_a_training_stand_in_columns():
    lines = [
        in_words(ROW | {"epoch": epoch, "seconds": seconds, "validation_auc": auc})
        for epoch, seconds, auc in ((1, 1.0, 0.5), (100, 1234.5, 1.0))
    ]
    first, second = ([place.start() for place in re.finditer(r"\|", line)] for line in lines)
    assert first == second


def test_what_is_undefined_is_left_out_and_zero_is_not():
    line = in_words(ROW | {"validation_loss": None, "validation_auc": 0.0, "validation_spearman": None})
    assert "validation loss" not in line
    assert "spearman" not in line
    assert "auc 0.000" in line


def test_patience_is_counted_down():
    stopping = EarlyStopping(metric="loss", patience=5)
    assert in_words(ROW, stopping, 3).endswith("| 3 of 5 without a better one")
    assert in_words(ROW, None, 3).endswith(" s")


def test_off_a_terminal_plain_lines_tell_where_a_stage_has_come_to(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "PLAIN_SECONDS", -1.0)
    with LineProgress() as progress:
        progress.start("epoch 1 of 2", 34)
        progress.advance("loss 0.4321")
        progress.say("epoch   1 | training loss 0.4321")
    assert capsys.readouterr().err == "epoch 1 of 2: 1 of 34 loss 0.4321\nepoch   1 | training loss 0.4321\n"
