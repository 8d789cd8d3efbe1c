"""The experiment with pretraining: it says what leaked, compares what it says it compares, and goes on after
a stop."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data import corpora
from gpt_core import GPT, CharTokenizer, GPTConfig
from gpt_core.evaluation import exhaustive_loss
from gpt_core.experiments import pretraining
from gpt_core.experiments.pretraining import Plan, first_characters, known, shared_places
from gpt_core.training.presets import PRESETS
from solutions.ex3_pretrain_finetune import finetune, remove_overlap
from tests.gpt_core.tiny import call_suggested

LEAK = "the quick brown fox jumps over the lazy dog and runs away"
TEXT = "".join(f"line {n} of a text that is short, {n * 7919 % 100}!\n" for n in range(40)) + LEAK + "\n"
LONG = (
    "".join(f"number {n} in a text that is longer, {n * 104729 % 1000}.\n" for n in range(120))
    + LEAK.upper()
    + "\nend\n"
)
PLAN = Plan(
    replace(
        PRESETS["toy"],
        block_size=8,
        n_layer=1,
        n_head=2,
        n_embd=8,
        steps=12,
        warmup=2,
        eval_interval=6,
        val_chars=200,
    ),
    steps=6,
    lr=1e-2,
    few=600,
    pretrain=lambda: LONG,
    text=lambda: TEXT,
)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """run(finetune) -> what it prints; the exit status where it is not 0 raises SystemExit."""
    monkeypatch.setitem(pretraining.PLANS, "toy", PLAN)

    def call(finetune=finetune, remove_overlap=remove_overlap):
        pretraining.main(
            remove_overlap, finetune, ["--size", "toy", "--out", str(tmp_path / "out"), "--device", "cpu"]
        )
        return capsys.readouterr().out

    return call


def rows(folder: Path):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_experiment_prints_the_leak_check_the_gap_and_three_comparisons_that_add_up(run, tmp_path):
    said = run()
    assert call_suggested(said) == ("sample", 0)  # the text is none of Shakespeare's
    assert "0 places left" in said and f"{len(LEAK) + 1} characters removed" in said
    assert LEAK.upper() not in (tmp_path / "out" / "pretrain.txt").read_text()
    assert "gap between validation and training loss" in said
    for line, one, other in (
        ("(a) 6 steps", "finetuned", "scratch-a"),
        ("(b) 18 steps", "finetuned", "scratch-b"),
        ("(c) as (a), with 600", "finetuned-c", "scratch-c"),
    ):
        numbers = [
            float(word)
            for word in next(text for text in said.splitlines() if text.startswith(line)).split()[-3:]
        ]
        of = [
            [row["val_loss"] for row in rows(tmp_path / "out" / name) if row["kind"] == "eval"]
            for name in (one, other)
        ]
        # A run of finetune ends with its best weights; its last row is theirs.
        of = [min(losses) if name == "scratch-b" else losses[-1] for name, losses in zip((one, other), of)]
        assert numbers == pytest.approx([*of, of[1] - of[0]], abs=6e-4)


@pytest.mark.slow
def test_a_short_run_is_evaluated_on_its_way_and_drawn_as_a_curve(run, tmp_path, monkeypatch):
    monkeypatch.setitem(pretraining.PLANS, "toy", replace(PLAN, steps=60))
    run()
    for name in ("finetuned", "scratch-a", "finetuned-c", "scratch-c"):
        evaluated = [row for row in rows(tmp_path / "out" / name) if row["kind"] == "eval"]
        assert [row["step"] for row in evaluated] == [20, 30, 40, 50, 60]
        assert all(row["seconds"] > 0 for row in evaluated)
    page = (tmp_path / "out" / "losses.html").read_text()
    assert page.count('<polyline class="line') == 5
    assert page.count('<polyline class="line s0"') == 3 and page.count('<polyline class="line s1"') == 2


def test_the_weights_on_the_way_are_those_of_the_model_that_is_trained_and_of_no_other():
    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4, dropout=0.0)
    trained, other, tokens = GPT(config), GPT(config).eval(), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    with pretraining.model_in_training() as seen:
        assert not seen
        trained(tokens[None, :4])
        other(tokens[None, :4])
        with torch.no_grad():
            GPT(config)(tokens[None, :4])
        assert seen == [trained]
    snapshot = pretraining.Snapshot.of(trained, 1, 0.5)
    expected = exhaustive_loss(trained, tokens)
    with torch.no_grad():
        trained.lm_head.bias += torch.arange(5.0)
    assert exhaustive_loss(trained, tokens) != expected
    assert snapshot.loss(trained, tokens) == expected
    assert snapshot.loss(GPT(replace(config, vocab_size=6)), tokens) is None


def test_what_is_there_is_not_trained_again_and_gives_the_same_table(run):
    first = run()

    def never(*args, **kwargs):
        raise AssertionError("trained again")

    second = run(finetune=never, remove_overlap=never)
    table = [line for line in first.splitlines() if line.startswith("(")]
    assert len(table) == 3 and table == [line for line in second.splitlines() if line.startswith("(")]


def test_stopped_in_the_middle_it_goes_on_to_the_same_table(run, capsys, tmp_path, monkeypatch):
    calls = []

    def stops_in_the_second(*args, report, **kwargs):
        def reported(step, loss):
            report(step, loss)
            if len(calls) == 2:
                raise KeyboardInterrupt

        calls.append(1)
        return finetune(*args, report=reported, **kwargs)

    with pytest.raises(SystemExit) as stopped:
        run(finetune=stops_in_the_second)
    assert stopped.value.code == 130 and "goes on" in capsys.readouterr().err
    resumed = run()
    monkeypatch.setattr(pretraining, "PLANS", {"toy": PLAN})
    pretraining.main(
        remove_overlap, finetune, ["--size", "toy", "--out", str(tmp_path / "other"), "--device", "cpu"]
    )
    whole = capsys.readouterr().out
    for said in (resumed, whole):
        assert sum(line.startswith("(") for line in said.splitlines()) == 3
    assert [x for x in resumed.splitlines() if x.startswith("(")] == [
        x for x in whole.splitlines() if x.startswith("(")
    ]
    # nothing of the stopped run is left
    assert [row["step"] for row in rows(tmp_path / "out" / "scratch-a")] == [6, 6]


def test_a_stub_is_told_what_is_not_written_yet(run, capsys):
    from exercises.ex3_pretrain_finetune import remove_overlap as stub

    with pytest.raises(SystemExit) as stopped:
        run(remove_overlap=stub)
    assert stopped.value.code == 1 and "Not written yet" in capsys.readouterr().err


def test_shared_places_are_found_at_every_offset_and_not_one_character_too_short():
    for offset in range(60):
        text = "x" * offset + LEAK + "y" * 70
        assert shared_places(text, f"<{LEAK[:50].upper()}>", 50) >= 1
        assert shared_places(text, f"<{LEAK[:49]}>", 50) == 0


def test_the_poor_train_on_exactly_the_first_characters_and_validate_on_the_end():
    for count in (9, 10, 600, 1000):
        text = first_characters(TEXT, count)
        border = int(0.9 * len(text))
        assert border == count and text[:count] == TEXT[:count]
        assert corpora.split(TEXT)[1].startswith(text[count:])
    with pytest.raises(ValueError, match="too many"):
        first_characters(TEXT, len(TEXT) - 5)


def test_what_a_tokenizer_does_not_know_is_left_out_of_what_is_scored():
    assert known("abcabc", CharTokenizer("ab")) == "abab"


def test_every_plan_finetunes_shorter_and_slower_than_it_pretrains():
    for plan in pretraining.PLANS.values():
        assert plan.steps < plan.config.steps and plan.lr < plan.config.lr
