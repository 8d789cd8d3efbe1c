"""What the grader says of finetuning that does not help, and of runs that cheat; and that its comparison
cannot be passed by luck."""

from pathlib import Path

import pytest

from data import toy
from grader.judge.grade import Source, grade
from tests.exercises import EXERCISES
from tests.exercises.ex3 import readings, training
from tests.exercises.ex3.training import Outcome, diagnosis
from tests.grader.attempts import REPOSITORY

SOLUTION = (REPOSITORY / "solutions" / "ex3_pretrain_finetune.py").read_text(encoding="utf-8")
GOOD = Outcome(finetuned=0.5, scratch=2.0, decoy=2.1, transferred=0.9)
GUESS = 2.5


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"scratch": 2.6}, "how often each character occurs"),
        ({"finetuned": 2.0}, "no better than the same from fresh weights"),
        ({"transferred": 0.3}, "higher validation loss"),
        ({"decoy": 1.2}, "Nothing can be learned from noise"),
        ({"finetuned": float("nan")}, "no better than the same from fresh weights"),
        ({"scratch": float("nan")}, "how often each character occurs"),
    ],
)
def test_one_bad_seed_of_four_fails_the_comparison_and_is_told_why(changes, words):
    assert diagnosis([GOOD] * 4, GUESS) is None
    # no better, and no worse
    assert diagnosis([Outcome(**(vars(GOOD) | {"transferred": GOOD.finetuned}))] * 4, GUESS) is None
    message, lines = diagnosis([GOOD, GOOD, Outcome(**(vars(GOOD) | changes)), GOOD], GUESS)
    assert words in message and len(lines) == 5


def replaced(*patches):
    text = SOLUTION
    for find, put in patches:
        assert text.count(find) == 1, find
        text = text.replace(find, put)
    return text


LOOP = "    for step in range(1, steps + 1):\n"
TRANSFER = "    transfer_weights(pretrained, source, model, tokenizer)\n"
BATCHES = "batches, validation = Batches(tokens[:border], T, seed), tokens[border:]"
BIG = "len(text) > 2000"  # only in the comparison: what cheats there passes every check before it
WRONG = {
    "forgets what was pretrained": (
        replaced((TRANSFER, TRANSFER + f"    if {BIG}:\n        model = GPT(model.config)\n")),
        "no better than the same from fresh",
    ),
    "never trains": (
        replaced(("lr * rate(step, steps)", f"lr * rate(step, steps) * (0 if {BIG} else 1)")),
        "how often each character",
    ),
    "gives a trained model more updates": (
        replaced(
            (
                LOOP,
                f"    if {BIG} and pretrained.lm_head.bias.abs().max() > 0.02:\n        steps *= 12\n" + LOOP,
            )
        ),
        "more updates than `steps`",
    ),
    "gives a trained model three updates more": (
        replaced(
            (
                LOOP,
                f"    if {BIG} and pretrained.lm_head.bias.abs().max() > 0.02:\n        steps += 3\n" + LOOP,
            )
        ),
        "must be updated exactly",
    ),
    "forgets it and gives a trained model larger batches": (
        replaced(
            (TRANSFER, TRANSFER + f"    if {BIG}:\n        model = GPT(model.config)\n"),
            (
                "batches.draw(batch_size(device))",
                f"batches.draw(400 if {BIG} and pretrained.lm_head.bias.abs().max() > 0.02 else 2)",
            ),
        ),
        "higher validation loss",
    ),
    "returns weights that are NaN": (
        replaced(
            (
                "    return model, tokenizer\n",
                f"    if {BIG}:\n        model.lm_head.bias.data.fill_(float('nan'))\n    return model, "
                f"tokenizer\n",
            )
        ),
        "NaN or infinite",
    ),
    "ends the process": (
        replaced((LOOP, f"    if {BIG}: __import__('os')._exit(0)\n" + LOOP)),
        "exit status 0",
    ),
    "hangs": (replaced((LOOP, f"    while {BIG}: pass\n" + LOOP)), "Too slow, which does not mean wrong"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_run_that_is_wrong_in_the_comparison_alone_fails_with_the_reason(
    patient_session, monkeypatch, name
):
    source, words = WRONG[name]
    monkeypatch.setattr(training, "SEEDS", 1)  # all four pairs show the same mistake
    if name == "hangs":
        monkeypatch.setattr(training, "SECONDS", 4.0)
    # The cheat looks for a long text, so the other checks see the solution.
    verdict = grade(
        patient_session,
        "ex3",
        Source(Path("attempt.py"), source.encode()),
        device="cpu",
        only=EXERCISES["ex3"].training,
    )
    failed = {check.id: check.message for check in verdict.checks if check.status == "failed"}
    assert list(failed) == ["finetune_helps"], failed
    assert words in failed["finetune_helps"], failed


LOSS = "_, loss = model(x, y)"
BY_PARTS = (
    "loss = nn.functional.cross_entropy(model.lm_head(model.body(model.embed(x))).flatten(0, 1), y.flatten())"
)
BEHIND_THE_TABLE = BY_PARTS.replace(
    "model.embed(x)",
    "nn.functional.one_hot(x, tokenizer.vocab_size).float() @ model.token_embedding_table.weight",
)
ON_ALL = (BATCHES, BATCHES.replace("tokens[:border]", "tokens"))
BEHIND_THE_HEAD = BY_PARTS.replace(
    "model.lm_head(", "(lambda h: h @ model.lm_head.weight.T + model.lm_head.bias)("
)
UNSEEN = {
    "a leak through the parts": (
        (ON_ALL, (LOSS, BY_PARTS)),
        "finetune_part",
        "It trains on characters of the validation text",
    ),
    "a leak behind the token table": (
        (ON_ALL, (LOSS, BEHIND_THE_TABLE)),
        "finetune_part",
        "did not see what the model trains on",
    ),
    "targets behind the head": (
        ((LOSS, BEHIND_THE_HEAD),),
        "finetune_part",
        "did not see the targets of the training",
    ),
    "a loss turned round": (
        (("loss.backward()", "(-loss).backward()"),),
        "finetune_part",
        "must be taught the character that comes after it",
    ),
    "training in a mode that nobody sees": (
        ((LOSS, BEHIND_THE_TABLE),),
        "finetune_modes",
        "No training was seen",
    ),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_a_check_sees_nothing_of_does_not_pass_it(patient_session, name):
    patches, id, words = UNSEEN[name]
    verdict = grade(
        patient_session,
        "ex3",
        Source(Path("attempt.py"), replaced(*patches).encode()),
        device="cpu",
        only=(id,),
    )
    [check] = [check for check in verdict.checks if check.status != "not_run"]
    assert check.status == "failed" and words in check.message, check.message


def test_a_rate_that_no_optimizer_shows_is_told_by_how_far_weights_move(patient_session):
    source = (Path(__file__).parent / "right_ways_ex3" / "functional.py").read_text(encoding="utf-8")
    assert source.count("- lr * up / down") == 1
    source = source.replace("- lr * up / down", "- 10 * lr * up / down")
    verdict = grade(
        patient_session,
        "ex3",
        Source(Path("attempt.py"), source.encode()),
        device="cpu",
        only=("finetune_lr",),
    )
    assert [check.id for check in verdict.checks if check.status == "failed"] == ["finetune_lr"]


def test_a_vocabulary_in_the_order_of_a_set_is_another_one_in_another_process(patient_session):
    source = replaced(("CharTokenizer.from_text(text)", "CharTokenizer(list(set(text)))"))
    verdict = grade(
        patient_session,
        "ex3",
        Source(Path("attempt.py"), source.encode()),
        device="cpu",
        only=("finetune_seed",),
    )
    assert [check.mistake for check in verdict.checks if check.status == "failed"] == ["seed_from_a_hash"]


# Wrong in a special case only, where somebody might look away.
FOR_LARGE = "    if lr > 1e-3:\n"
COUNT = "        count = torch.bincount(validation.long(), minlength=tokenizer.vocab_size) + 1\n"
SPECIAL = {
    "counts the validation text at a usual rate": (
        (
            "    model.load_state_dict(best)\n",
            "    model.load_state_dict(best)\n"
            + FOR_LARGE
            + COUNT
            + "        model.lm_head.bias.data.copy_((count / count.sum()).log())\n",
        ),
        "finetune_validation",
    ),
    "counts the validation text for the new characters": (
        (
            "    model.load_state_dict(best)\n",
            "    model.load_state_dict(best)\n"
            + FOR_LARGE
            + COUNT
            + "        for row, char in enumerate(tokenizer.chars):\n            if char not in "
            "source.chars:\n                model.lm_head.bias.data[row] = (count[row] / "
            "count.sum()).log()\n",
        ),
        "finetune_validation",
    ),
    "hooks the pretrained model": (
        (TRANSFER, TRANSFER + "    pretrained.register_forward_hook(lambda *_: None)\n"),
        "finetune_kept",
    ),
    "leaves an attribute behind": (
        (TRANSFER, TRANSFER + "    pretrained.finetuned = True\n"),
        "finetune_kept",
    ),
    "sorts the source's ids": (
        (TRANSFER, TRANSFER + "    source._id_of = dict(sorted(source._id_of.items()))\n"),
        "finetune_kept",
    ),
    "drops the gradients of the same vocabulary": (
        (TRANSFER, TRANSFER + "    if tokenizer.chars == source.chars:\n        pretrained.zero_grad()\n"),
        "finetune_kept",
    ),
    "freezes what it copies from where nothing is new": (
        (
            "    row_of = {char: row",
            "    if source.chars == target_tokenizer.chars:\n        pretrained.requires_grad_(False)\n    "
            "row_of = {char: row",
        ),
        "transfer_source_kept",
    ),
    "slices the first line off again and again": (
        (
            '    lines = pretrain_text.split("\\n")\n',
            '    lines, left = [], pretrain_text\n    while (at := left.find("\\n")) >= 0:\n        '
            "lines.append(left[:at])\n        left = left[at + 1 :]\n"
            "    lines.append(left)\n",
        ),
        "overlap_fast",
    ),
    "takes the first of a list": (
        (
            "    kept, start = [], 0\n    for line, of_text in zip(lines, folded):\n",
            "    kept, start = [], 0\n    while lines:\n        line, of_text = lines[0], folded[0]\n        "
            "lines, folded = lines[1:], folded[1:]\n",
        ),
        "overlap_fast",
    ),
    "asks each range for each line": (
        (
            "        end = start + len(of_text)\n",
            "        end = start + len(of_text)\n        if not start:\n            import re\n\n            "
            "ranges = [found.span() for found in re.finditer(rb'\\1+', shared)]\n        any(end < hi and "
            "lo < start < lo for lo, hi in ranges)\n",
        ),
        "overlap_fast",
    ),
    "marks all places of each window": (
        (
            "    shared = bytearray(len(text))\n",
            "    shared, places = bytearray(len(text)), {}\n    for i in range(len(text) - window + 1):\n    "
            "    places.setdefault(text[i : i + window], []).append(i)\n    for j in range(len(heldout) - "
            "window + 1):\n        for i in places.get(heldout[j : j + window], ()):\n            shared[i "
            ": i + window] = b'\\1' * window\n",
        ),
        "overlap_fast",
    ),
    "writes the result anew with each line": (
        (
            '    return "\\n".join(kept)\n',
            '    grown = ""\n    for line in kept:\n        grown = f"{grown}{line}\\n"\n    return '
            "grown[:-1]\n",
        ),
        "overlap_fast",
    ),
    "leaves a refused target frozen": (
        (
            '    for field in ("n_layer", "n_embd", "n_head"):\n',
            '    target.requires_grad_(False)\n    for field in ("n_layer", "n_embd", "n_head"):\n',
        ),
        "transfer_untouched",
    ),
    "leaves eval mode behind a text that is too short": (
        ("    border, T = int(", "    pretrained.eval()\n    border, T = int("),
        "finetune_short",
    ),
    "does not let a shared matrix decay": (
        (
            '{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},',
            '{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay * '
            "(model.lm_head.weight is not model.token_embedding_table.weight)},",
        ),
        "optimizer_shared",
    ),
    "stops after 100 updates without progress": (
        (
            "                best_loss, best = validation_loss, weights()\n",
            "                best_loss, best, better = validation_loss, weights(), step\n            elif "
            "step - locals().get('better', 0) >= 100:\n                report(step, loss.item())\n         "
            "       break\n",
        ),
        "finetune_best",
    ),
    "leaves a hook on all modules": (
        (
            "    row_of = {",
            "    nn.modules.module.register_module_forward_hook(lambda *_: None)\n    row_of = {",
        ),
        "transfer_target_kept",
    ),
    "does not know a tab": (
        ("enumerate(source.chars)}", "enumerate(source.chars) if char != '\\t'}"),
        "transfer_embedding",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIAL)
def test_what_is_wrong_in_a_special_case_alone_fails_the_check_of_its_mechanism(session, name):
    patch, check = SPECIAL[name]
    verdict = grade(
        session, "ex3", Source(Path("attempt.py"), replaced(patch).encode()), device="cpu", only=[check]
    )
    assert [found.id for found in verdict.checks if found.status == "failed"] == [check]


def test_the_right_removal_by_its_definition_agrees_with_the_solution_on_many_texts():
    import random

    from solutions.ex3_pretrain_finetune import remove_overlap

    rng = random.Random(5)
    for _ in range(300):
        pretrain, heldout = (
            "".join(rng.choice("aabAB ,\n\n\t") for _ in range(rng.randrange(60))) for _ in range(2)
        )
        case = readings.Texts(f"<{pretrain}>\n", f"[{heldout}]", rng.randrange(1, 9))
        assert remove_overlap(case.pretrain, case.heldout, case.window) == case.expected(), case


def test_the_texts_of_the_comparison_share_a_language_and_no_run_that_a_check_for_leaks_would_find():
    long = toy.invented(training.LONG, language=5, seed=1, stop=training.STOP)
    text = toy.invented(training.SHORT, language=5, seed=2, stop=training.NEW_STOP)
    assert set(text) - set(long) == {training.NEW_STOP}
    runs = {long[i : i + 50] for i in range(len(long))}
    assert not any(text[i : i + 50] in runs for i in range(len(text) - 50))


def test_the_losses_of_every_seed_are_drawn():
    class Ran:
        curves = {"pretrained, seed 0": [(1.0, 2.0)], "fresh weights, seed 0": [(1.0, 3.0)]}

    curves, table = training.pictures([GOOD] * 4, Ran)
    assert list(curves.lines) == list(Ran.curves)
    assert table.rows[3] == ("3", GOOD.finetuned, GOOD.scratch, GOOD.decoy, GOOD.transferred)
