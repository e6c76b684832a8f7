"""kill -9 at any moment: what is resumed ends as if nothing had been."""

import json
import signal

import pytest

CASES = {
    "plain": {},
    "workers": {"workers": 2},
    "augmented": {"augment": True},
    "cached": {"cache": True},
    "all": {"workers": 2, "augment": True, "cache": True},
    "augmented cached": {"augment": True, "cache": True},
}
CASE = pytest.mark.parametrize(
    "case", [name if name == "all" else pytest.param(name, marks=pytest.mark.faults) for name in CASES]
)
# of a save that deletes an old checkpoint
SAVE = 4
EPOCHS = 5


@pytest.fixture(scope="module")
def expected(processes, tmp_path_factory):
    """What an uninterrupted training comes to."""
    found = {}

    def train(case):
        if case not in found:
            folder = tmp_path_factory.mktemp("whole")
            options = CASES[case] | {"epochs": EPOCHS, "fault": {"count_events": 1, "save": SAVE}}
            process = processes.run("train", str(folder), **options)
            assert process.code == 0, process.err
            found[case] = read(folder)
        return found[case]

    return train


def read(folder):
    return json.loads((folder / "result.json").read_text())


def kill(processes, folder, case, fault, *, resume=False):
    process = processes.run("train", str(folder), **CASES[case], epochs=EPOCHS, fault=fault, resume=resume)
    assert process.code == -signal.SIGKILL, process.err
    assert not (folder / "result.json").exists()


def resume(processes, folder, case, expected):
    process = processes.run("train", str(folder), **CASES[case], epochs=EPOCHS, resume=True)
    assert process.code == 0, process.err
    assert {**read(folder), "events": 0} == {**expected, "events": 0}
    assert not list((folder / "checkpoints").glob(".*")), "temporary files are left"
    assert not list((folder / "checkpoints").glob("damaged*"))


def check_save(processes, tmp_path, case, expected, numbers):
    for number in numbers:
        folder = tmp_path / f"event{number}"
        kill(processes, folder, case, {"kill_at_event": number, "save": SAVE})
        resume(processes, folder, case, expected)


@pytest.mark.faults
def test_killed_during_a_save_a_training_resumes_to_the_same_weights(processes, expected, tmp_path):
    whole = expected("plain")
    assert whole["events"] > 30
    check_save(processes, tmp_path, "plain", whole, range(1, whole["events"] + 1, 17))


@pytest.mark.faults
@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_file_boundary_of_a_save_a_training_resumes_to_the_same_weights(
    processes, expected, tmp_path, case
):
    whole = expected(case)
    # a save has the same files whatever is read; the cases between the simplest and the fullest share the boundaries
    every, first = (1, 0) if case in ("plain", "all") else (3, list(CASES).index(case) % 3)
    check_save(processes, tmp_path, case, whole, range(1 + first, whole["events"] + 1, every))


@CASE
def test_killed_five_times_in_an_epoch_a_training_resumes_to_the_same_weights(processes, expected, tmp_path, case):
    kill(processes, tmp_path, case, {"kill_after_step": 7})
    for step in range(2, 6):  # counted from the epoch's start, where each goes on
        kill(processes, tmp_path, case, {"kill_after_step": step}, resume=True)
    resume(processes, tmp_path, case, expected(case))


@pytest.mark.faults
@CASE
def test_killed_at_the_end_of_an_epoch_a_training_resumes_to_the_same_weights(processes, expected, tmp_path, case):
    for name, fault in {"before its save": {"kill_at_end_of_epoch": 2}, "after it": {"kill_before_epoch": 3}}.items():
        kill(processes, tmp_path / name, case, fault)
        resume(processes, tmp_path / name, case, expected(case))


@pytest.mark.faults
@CASE
def test_stopped_and_killed_in_mid_epoch_a_training_resumes_to_the_same_weights(processes, expected, tmp_path, case):
    options = CASES[case] | {"epochs": EPOCHS}
    for number, step in enumerate((8, 1, 2)):  # leaves the state of steps 8, 9 and 11: within the second epoch
        stopped = processes.run("train", str(tmp_path), **options, fault={"stop_after_step": step}, resume=number > 0)
        assert stopped.code == 143, stopped.err
        kill(processes, tmp_path, case, {"kill_after_step": 1}, resume=True)
    (newest,) = sorted((tmp_path / "checkpoints").glob("step-*"))[-1:]
    assert newest.name == "step-00000011"
    resume(processes, tmp_path, case, expected(case))
