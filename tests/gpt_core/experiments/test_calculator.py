"""`python exercises/more/calculator.py`: trains, saves, goes on after Ctrl-C, measures each operator, shows
the steps and where they err."""

import pytest
import torch

from gpt_core import GPT, GPTConfig
from gpt_core.experiments import calculator
from gpt_core.experiments.calculator import answered, main, measure
from gpt_core.training.command import INTERRUPTED
from solutions.more.calculator import ID, VOCABULARY, calculate, decode, encode


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calculator, "PROBLEMS", 5)
    return tmp_path


class Writer(torch.nn.Module):
    """A model that writes what `answers` says after each prompt: {prompt: what it writes}."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.config = answers, GPTConfig(17, 48, 1, 1, 8, 0.0)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        logits = torch.zeros(*x.shape, 17)
        for row, tokens in enumerate(x.tolist()):
            prompt, _, begun = "".join(VOCABULARY[t] for t in tokens).partition("=")
            wanted = self.answers(prompt + "=") + ";" * 48
            logits[row, -1, ID[wanted[len(begun)]]] = 1.0
        return logits * self.scale, None


def right(prompt):
    a, op, b = next(prompt.partition(op) for op in "+-*/" if op in prompt)
    return encode(int(a), op, int(b[:-1]))[1]


def said(text, answers):
    return "".join(answered(text, Writer(answers), calculate, encode))


def test_a_right_answer_is_shown_with_its_steps():
    assert said("34*57", right).startswith("  34*57=832+0071=8391;\n34 * 57 = 1938  right")
    assert "6007 / 83 = 72 r 31  right" in said(" 6007 / 83 ", right)


def test_a_line_beneath_shows_where_the_steps_err():
    lines = said("34*57", lambda prompt: "832+0081=8391;").splitlines()
    assert lines[0] == "  34*57=832+0081=8391;"
    assert lines[1].index("^") == lines[0].index("81=") and "it should be 71=8391;" in lines[1]
    assert lines[2].startswith("34 * 57 = 1938  right")  # the answer is right, and its steps are not
    assert "wrong: 135" in said("85+50", lambda prompt: "6310;")
    assert "= ?  wrong" in said("85+50", lambda prompt: "7")


def test_what_is_no_problem_is_said():
    assert "from 0 to 99" in said("100*3", right) and "is no problem" in said("3+4+5", right)


def test_answers_and_steps_are_measured_for_each_operator():
    found = measure(Writer(right), encode, decode, 5, seed=1)
    assert {op: (one["answers"], one["traces"], one["example"]) for op, one in found.items()} == {
        op: (1.0, 1.0, None) for op in "+-*/"
    }
    # A wrong digit in the first partial product alone.
    found = measure(Writer(lambda p: right(p) if "*" not in p else spoiled(right(p))), encode, decode, 5, 1)
    assert found["*"]["answers"] == 1.0 and found["*"]["traces"] == 0.0 and found["/"]["traces"] == 1.0


def spoiled(answer):
    return str((int(answer[0]) + 1) % 10) + answer[1:]


def trainer(after, takes=True):
    """A train_calculator that adds 1 to a bias for each step, and calls after(step)."""

    def new():
        return GPT(GPTConfig(vocab_size=17, block_size=48, n_layer=1, n_head=1, n_embd=8))

    def whole(*, steps, device, seed, report):
        return resumed(steps=steps, device=device, seed=seed, report=report)

    def resumed(*, steps, device, seed, report, start=None, done=0):
        model = start or new()
        for step in range(done + 1, steps + 1):
            with torch.no_grad():
                model.lm_head.bias += 1
            report(step, 1.0)
            after(step)
        return model

    return resumed if takes else whole


def interrupt(step):
    if step == 3:
        raise KeyboardInterrupt


def run(train, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(train, calculate, encode, decode, ["--device", "cpu", *arguments])
    return ended.value.code


def test_a_run_saves_its_model_and_prints_what_each_operator_comes_to(capsys, own_folder):
    assert run(trainer(lambda step: None), "--steps", "5") == 0
    said = capsys.readouterr().out
    assert all(f"  {op}  answers right" in said for op in "+-*/") and '--ask "34*57"' in said
    assert (own_folder / "runs" / "calculator.safetensors").exists()
    assert run(None, "--ask", "12+34") == 0 and "12 + 34 = " in capsys.readouterr().out


def test_a_run_that_was_stopped_goes_on(capsys):
    assert run(trainer(interrupt), "--steps", "5") == INTERRUPTED
    assert "Stopped after about 3 of 5" in capsys.readouterr().out
    seen = []
    assert run(trainer(seen.append), "--steps", "5") == 0
    assert seen == [4, 5] and "after update 3" in capsys.readouterr().out
    # Finished, or with other settings: a new one.
    for arguments in (["--steps", "5"], ["--steps", "6"]):
        seen.clear()
        assert run(trainer(seen.append), *arguments) == 0 and seen[0] == 1
        assert "A new calculator" in capsys.readouterr().out


def test_a_run_that_is_stopped_again_at_once_has_lost_no_update(capsys):
    run(trainer(interrupt), "--steps", "5")

    def at_once(*, steps, device, seed, report, start=None, done=0):
        model = start
        assert model is not None
        raise KeyboardInterrupt

    assert run(at_once, "--steps", "5") == INTERRUPTED
    seen = []
    assert run(trainer(seen.append), "--steps", "5") == 0 and seen == [4, 5]


def test_with_anew_it_begins_from_the_start(capsys):
    run(trainer(interrupt), "--steps", "5")
    seen = []
    assert run(trainer(seen.append), "--steps", "5", "--anew") == 0 and seen[0] == 1


def test_a_function_that_cannot_go_on_is_told_what_it_lacks(capsys):
    run(trainer(interrupt, takes=False), "--steps", "5")
    seen = []
    run(trainer(seen.append, takes=False), "--steps", "5")
    assert seen[0] == 1 and "start=None" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--steps", "0"], "--steps is 0"),
        (["--device", "abacus"], "device is 'abacus'"),
        (["--ask", "1+2"], "Without --ask a calculator is trained"),
        (["--max-iters", "5"], "did you mean --steps?"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, sentence, capsys):
    assert run(None, *arguments) == 2 and sentence in " ".join(capsys.readouterr().err.split())


def test_a_function_that_is_not_written_yet_is_said_so(capsys):
    def stub(**_):
        raise NotImplementedError("train_calculator")

    assert run(stub) == 1 and capsys.readouterr().err == "Not written yet: train_calculator\n"
