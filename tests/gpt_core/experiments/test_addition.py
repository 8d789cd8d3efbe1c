"""`python exercises/ex2_addition.py`: trains, saves, measures; stopped with Ctrl-C it saves as well; and can
be asked."""

import pytest
import torch

from gpt_core import GPT, GPTConfig
from gpt_core.experiments import addition, answering
from gpt_core.experiments.addition import main
from gpt_core.training.command import INTERRUPTED


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def true_sums(model, a, b, n_digits):
    return a + b


def trainer(after):
    """A train_adder that calls after(step) for each step."""

    def train_adder(n_digits, *, steps, device, seed, report):
        model = GPT(GPTConfig(vocab_size=12, block_size=3 * n_digits + 2, n_layer=1, n_head=1, n_embd=8))
        for step in range(1, steps + 1):
            with torch.no_grad():
                model.lm_head.bias += 1
            report(step, 1.0)
            after(step)
        return model

    return train_adder


def interrupt(step):
    if step == 3:
        raise KeyboardInterrupt


def kept(n_digits):
    return answering.kept(addition.adder(n_digits, true_sums, "cpu"), "cpu")[0]


def run(train, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(train, true_sums, ["--digits", "2", "--device", "cpu", *arguments])
    return ended.value.code


def test_a_run_saves_its_model_and_prints_what_it_can_do_and_how_to_ask_it(capsys, own_folder):
    assert run(trainer(lambda step: None), "--steps", "5") == 0
    said = capsys.readouterr().out
    assert "2000 held-out problems of 2 digits: 100.00% right" in said and "--ask 12+34 --digits 2" in said
    assert kept(2).lm_head.bias.tolist() == [5.0] * 12


def test_ctrl_c_saves_what_the_training_has_come_to(capsys):
    assert run(trainer(interrupt), "--steps", "5") == INTERRUPTED
    assert "Stopped after about 3 of 5 updates." in (said := capsys.readouterr().out) and "Saved in" in said
    assert kept(2).lm_head.bias.tolist() == [3.0] * 12
    assert run(None, "--ask", "12+34") == 0
    assert capsys.readouterr().out == "12 + 34 = 46  right\n"


def test_ctrl_c_before_there_is_a_model_saves_nothing(capsys, own_folder):
    def at_once(*_, **__):
        raise KeyboardInterrupt

    assert run(at_once) == INTERRUPTED
    assert "There was no model yet" in capsys.readouterr().out and not list(own_folder.iterdir())


def test_asking_says_what_is_wrong(capsys):
    run(trainer(lambda step: None), "--steps", "1")
    model = kept(2)
    assert addition.answered(" 7 + 8 = ", model, true_sums, 2, "cpu") == "7 + 8 = 15  right"
    assert addition.answered("7+8", model, lambda *_: torch.tensor([3]), 2, "cpu") == "7 + 8 = 3  wrong: 15"
    assert "two whole numbers and a plus" in addition.answered("7-8", model, true_sums, 2, "cpu")
    assert "0 to 99" in addition.answered("100+8", model, true_sums, 2, "cpu")


def test_asking_before_any_training_says_what_to_do(capsys):
    with pytest.raises(SystemExit) as ended:
        main(None, true_sums, ["--digits", "4", "--ask", "12+34"])
    assert ended.value.code == 2
    assert "Without --ask an adder of 4 digits is trained" in " ".join(capsys.readouterr().err.split())


def test_problems_are_asked_one_after_the_other(capsys, monkeypatch):
    run(trainer(lambda step: None), "--steps", "1")
    lines = iter(["1+2", "what", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert run(None, "--ask") == 0
    said = capsys.readouterr().out
    assert "1 + 2 = 3  right" in said and "'what' is no problem" in said


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--digits", "10"], "--digits must be from 1 to 9"),
        (["--device", "abacus"], "device is 'abacus'"),
        (["--max-iters", "5"], "there is no option --max-iters (did you mean --steps?)"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(None, None, arguments)
    assert ended.value.code == 2 and sentence in " ".join(capsys.readouterr().err.split())


def test_a_function_that_is_not_written_yet_is_said_so(capsys):
    def stub(*_, **__):
        raise NotImplementedError("train_adder")

    assert run(stub) == 1
    assert capsys.readouterr().err == "Not written yet: train_adder\n"
