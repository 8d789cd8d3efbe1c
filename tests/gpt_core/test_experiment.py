import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gpt_core import experiment
from gpt_core.experiment import main
from gpt_core.experiments import arms
from gpt_core.experiments.results import Results, position_ranges
from gpt_core.training import checkpoint
from gpt_core.training.train_config import TrainConfig
from tests.gpt_core.tiny import TEXT

ROTARY = ["--attention", "solutions.ex4_rope:RotaryAttention", "--no-position-embedding"]
HAS_PLOTS = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Options for an experiment of seconds."""
    text = tmp_path_factory.mktemp("corpus") / "play.txt"
    text.write_text(TEXT)
    return [
        "--preset",
        "toy",
        "--corpus",
        str(text),
        "--steps",
        "4",
        "--seeds",
        "2",
        "--stretch",
        "2",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]


@pytest.fixture(scope="module")
def done(small, tmp_path_factory):
    """A finished experiment's folder, and that of its feature."""
    out = tmp_path_factory.mktemp("experiments")
    assert main(ROTARY, [*small, "--out", str(out)]) == 0
    return out, next(out.glob("RotaryAttention-*"))


def last_checkpoints(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob(checkpoint.LAST)}


@pytest.mark.slow
def test_each_seed_trains_the_baseline_and_the_feature(done):
    out, _ = done
    assert len(last_checkpoints(out)) == 4
    configs = [checkpoint.load(path).info["train_config"] for path in sorted(last_checkpoints(out))]
    assert [(c["seed"], c["attention"], c["position_embedding"], c["steps"]) for c in configs] == [
        (1, ROTARY[1], False, 4),
        (2, ROTARY[1], False, 4),
        (1, "", True, 4),
        (2, "", True, 4),
    ]


def test_the_results_are_those_of_the_logs(done):
    _, folder = done
    found = json.loads((folder / "results.json").read_text())
    last = [checkpoint.load(folder / f"seed{seed}" / checkpoint.LAST) for seed in (1, 2)]
    saved = [run.info["last_eval"][0] for run in last]
    assert found["losses"][1] == saved
    differences = [f - b for b, f in zip(*found["losses"])]
    assert found["difference"]["mean"] == pytest.approx(sum(differences) / 2)
    assert found["difference"]["low"] < found["difference"]["mean"] < found["difference"]["high"]
    assert [len(run) for arm in found["positions"] for run in arm["runs"]] == [64] * 4  # 2 x block_size


def test_a_second_call_trains_nothing_and_says_the_same(small, done, capsys):
    out, _ = done
    before = last_checkpoints(out)
    assert main(ROTARY, [*small, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert last_checkpoints(out) == before
    assert "exhaustive validation loss after 4 steps" in said and "95 % interval" in said
    assert "No difference shown" in said or "does not contain 0" in said
    assert (
        said.count("from before") == 4
        and "The speeds are from different times" in said
        and "x as fast" not in said
    )
    assert "beyond the length of training" in said and "tokens/s" in said


@pytest.mark.slow
def test_another_feature_uses_the_same_baseline_runs(small, done):
    out, _ = done
    before = last_checkpoints(out)
    attention = "solutions.ex1_fused_attention:FusedMultiHeadAttention"
    assert main([], [*small, "--out", str(out), "--attention", attention]) == 0
    assert len(last_checkpoints(out)) == len(before) + 2
    assert before.items() <= last_checkpoints(out).items()


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(small, done, tmp_path, monkeypatch):
    stop = iter([False, False, True])
    monkeypatch.setattr(experiment, "stop_requested", lambda: _Stops(lambda: next(stop, True)))
    assert main(ROTARY, [*small, "--out", str(tmp_path)]) == 130
    assert [checkpoint.load(path).info["step"] for path in last_checkpoints(tmp_path)] == [3]
    monkeypatch.undo()
    assert main(ROTARY, [*small, "--out", str(tmp_path)]) == 0
    folder = next(tmp_path.glob("RotaryAttention-*"))
    one, other = (json.loads((f / "results.json").read_text())["losses"] for f in (folder, done[1]))
    assert one == other  # bit for bit as if it had never stopped


def test_speeds_are_compared_where_both_runs_of_a_pair_were_trained_in_the_same_call():
    runs = [
        [arms.Run(None, 1, 2.0, rate, 10, is_new=True), arms.Run(None, 2, 2.0, 1.0, 10, is_new=new)]
        for rate, new in ((100.0, False), (50.0, True))
    ]
    assert Results([], runs).speed_ratio() == 0.5


def test_a_run_that_was_killed_before_its_first_checkpoint_is_trained_anew(small, done, tmp_path):
    arm = arms.make_arm("x", checkpoint_config(done[0]), tmp_path)
    folder = arm.run_folder(1)
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text('{"kind": "eval", "step": 0, "val_loss": 3.0}\n')
    assert arms.train(arm, 1, TEXT, lambda event: None, lambda: False).is_new


def checkpoint_config(out):
    path = next(out.glob("baseline-*/seed1/last.safetensors"))
    return TrainConfig(**checkpoint.load(path).info["train_config"])


class _Stops:
    def __init__(self, answer):
        self.answer = answer

    def __enter__(self):
        return self.answer

    def __exit__(self, *_):
        pass


PART = """
import torch.nn as nn
class Mine(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.net = nn.Linear(config.n_embd, config.n_embd)
    def forward(self, x):
        return self.net(x)
"""


@pytest.mark.slow
def test_a_changed_source_is_another_feature_and_is_trained_anew(small, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    source, out = tmp_path / "part_of_mine.py", tmp_path / "out"
    source.write_text(PART)
    call = [*small, "--out", str(out), "--feed-forward", "part_of_mine:Mine"]
    assert main([], call) == 0
    source.write_text(PART + "# changed\n")
    sys.modules.pop("part_of_mine")
    assert main([], call) == 0
    assert len(list(out.glob("Mine-*"))) == 2 and len(list(out.glob("baseline-*"))) == 1


def test_finished_runs_of_another_text_are_not_taken_for_those_of_this_one(small, done, tmp_path, capsys):
    out, corpus = done[0], Path(small[small.index("--corpus") + 1])
    try:
        corpus.write_text(TEXT.replace("king", "kong"))
        assert main(ROTARY, [*small, "--out", str(out)]) == 2
    finally:
        corpus.write_text(TEXT)
    assert "play.txt is not the text that" in " ".join(capsys.readouterr().err.split())


LATE = (
    PART
    + """
    passes = 0
    def forward(self, x):
        Mine.passes += self.training
        if Mine.passes > 5:
            raise ERROR("lost")
        return self.net(x)
"""
)


@pytest.mark.parametrize("error", ["ValueError", "KeyError"])
def test_a_part_that_fails_while_it_trains_is_named_with_its_line(
    small, tmp_path, monkeypatch, capsys, error
):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"fails_late_{error}.py").write_text(LATE.replace("ERROR", error))
    assert (
        main([], [*small, "--out", str(tmp_path / "out"), "--feed-forward", f"fails_late_{error}:Mine"]) == 1
    )
    said = " ".join(capsys.readouterr().err.split())
    assert (
        said.startswith(f"fails_late_{error}:Mine fails: {error}: ")
        and f"(fails_late_{error}.py, line 14)." in said
    )


def test_a_file_that_cannot_be_written_is_one_sentence(small, done, capsys, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    assert main(ROTARY, [*small, "--out", str(done[0])]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == f"{done[1] / 'results.json'} cannot be written: No space left on device."


@pytest.mark.slow
def test_memory_that_runs_out_is_one_sentence(small, tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(arms, "loss_by_position", refuse)
    assert main(ROTARY, [*small, "--out", str(tmp_path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == "There is not enough memory for windows of 2 x block_size: a smaller --stretch takes less."


def test_the_curves_of_both_arms_are_a_page(done):
    page = (done[1] / "losses.html").read_text(encoding="utf-8")
    assert page.count("<polygon") == 2 and "RotaryAttention" in page and "mean of" in page


@pytest.mark.skipif(not HAS_PLOTS, reason="matplotlib, an optional extra, is not installed")
def test_both_plots_are_drawn(done):
    for name in ("losses.png", "positions.png"):
        assert (done[1] / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "there is nothing to compare"),
        ([*ROTARY, "--seeds", "1"], "--seeds is 1; it must be at least 2"),
        ([*ROTARY, "--steps", "0"], "--steps is 0; it must be at least 1"),
        ([*ROTARY, "--preset", "huge"], "there is no preset 'huge'"),
        ([*ROTARY, "--stretch", "400"], "the validation text has 6000 characters"),
        (["--attention", "no_such_module:X"], "no_such_module cannot be imported"),
        (["--attention", "tests.exercises.ex4.stub:RotaryAttention"], "is not written yet"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(tmp_path, capsys, arguments, sentence):
    assert main([], ["--preset", "toy", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_the_table_of_positions_is_fine_around_the_end_of_training():
    assert position_ranges(64, 4) == [
        (0, 16),
        (16, 32),
        (32, 64),
        (64, 80),
        (80, 96),
        (96, 128),
        (128, 192),
        (192, 256),
    ]
    assert position_ranges(8, 2)[-1] == (12, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    "feature, name",
    [
        (["--optimizer", "solutions.more.muon:Muon"], "Muon"),
        (["--model", "solutions.more.tying:TiedGPT"], "TiedGPT"),
    ],
)
def test_an_optimizer_and_a_model_are_compared_like_a_part(small, tmp_path, capsys, feature, name):
    assert main(feature, [*small, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    results = json.loads(next(tmp_path.glob(f"{name}-*/results.json")).read_text())
    assert name in said and [len(losses) for losses in results["losses"]] == [2, 2]
    field = feature[0].removeprefix("--")
    assert [arm[field] for arm in results["arms"]] == [getattr(TrainConfig(), field), feature[1]]


@pytest.mark.slow
def test_windows_in_epochs_are_compared_with_random_ones(small, tmp_path):
    assert main(["--windows", "epochs"], [*small, "--out", str(tmp_path)]) == 0
    configs = {
        path.parents[1].name.split("-")[0]: checkpoint.load(path).info["train_config"]["windows"]
        for path in tmp_path.rglob(checkpoint.LAST)
    }
    assert configs == {"baseline": "random", "epochs": "epochs"}


def test_the_help_of_an_experiment_begins_with_the_script_that_was_called(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["exercises/more/rmsnorm.py", "--help"])
    with pytest.raises(SystemExit):
        main(["--norm", "exercises.more.rmsnorm:RMSNorm"])
    assert "usage: python exercises/more/rmsnorm.py " in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main()
    assert "usage: python -m gpt_core.experiment" in " ".join(capsys.readouterr().out.split())


def run_with_log(folder, val_loss, rows):
    folder.mkdir()
    lines = [json.dumps({"kind": "eval", "step": step, "val_loss": loss}) for step, loss in rows]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return arms.Run(folder, 1, val_loss, 1000.0, 10)


def test_the_steps_to_the_baselines_loss_are_read_off_the_curves_of_the_pairs(tmp_path):
    base = [run_with_log(tmp_path / f"b{i}", 2.0, [(0, 4.0), (40, 2.0)]) for i in range(3)]
    ends = (1.0, 1.5, 1.8)  # they come to 2.0 after 30, 20 + 20 * 0.5 and 20 + 20 * 5 / 6 steps
    mine = [
        run_with_log(
            tmp_path / f"m{i}", end, [(0, 4.0), (20, 3.0 if i == 0 else 2.5 if i == 1 else 2.8), (40, end)]
        )
        for i, end in enumerate(ends)
    ]
    config = TrainConfig(steps=40)
    results = Results(
        [arms.Arm("baseline", config, tmp_path), arms.Arm("mine", config, tmp_path)], [base, mine]
    )
    assert results.steps_to_baseline() == pytest.approx(30.0)
    never = [run_with_log(tmp_path / f"n{i}", 2.5, [(0, 4.0), (40, 2.5)]) for i in range(3)]
    assert Results(results.arms, [base, never]).steps_to_baseline() is None


def test_the_seconds_to_the_baselines_loss_count_the_speed_of_both(tmp_path):
    config = TrainConfig(steps=40)  # 64 x 256 tokens a step: 655.36 s at 1000 tokens/s
    base = run_with_log(tmp_path / "b", 2.0, [(0, 4.0), (40, 2.0)])
    mine = run_with_log(tmp_path / "m", 1.0, [(0, 4.0), (20, 3.0), (40, 1.0)])
    pair = [dataclasses.replace(run, is_new=True) for run in (base, mine)]
    pair[1] = dataclasses.replace(pair[1], tokens_per_second=500.0)
    arm = [arms.Arm(name, config, tmp_path) for name in ("baseline", "mine")]
    said = []
    results = Results(arm, [[run, run] for run in pair])
    results.show(lambda text="": said.append(text))
    assert any("after 30 of its 40 steps, that is 983 of its 655 s" in line for line in said)
    fast = [dataclasses.replace(run, tokens_per_second=1e6) for run in pair]
    said.clear()
    Results(arm, [[run, run] for run in fast]).show(lambda text="": said.append(text))
    assert any(line.endswith("after 30 of its 40 steps") for line in said)  # less than a second
    results = Results(arm, [[base, base], [mine, mine]])  # speeds of another time
    said.clear()
    results.show(lambda text="": said.append(text))
    assert any(line.endswith("after 30 of its 40 steps") for line in said)
