"""An optimizer and a model of your own: as good as the workbook's, and told what is wrong with them."""

import pytest
import torch

from gpt_core import GPT
from gpt_core.experiments.arms import finished
from gpt_core.training import checkpoint
from gpt_core.training.plugins import build_model, build_optimizers
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer
from solutions.more.muon import Muon, split_parameters
from tests.gpt_core.tiny import TEXT, assert_same_run, losses, tiny_config, trained
from tests.gpt_core.training import own_optimizers

OWN = "tests.gpt_core.training.own_optimizers"
MUON, TIED = "solutions.more.muon:Muon", "solutions.more.tying:TiedGPT"


@pytest.mark.parametrize("optimizer", [MUON, f"{OWN}:Plain", "torch.optim:Adam", "torch.optim:SGD"])
def test_a_resumed_run_with_an_optimizer_of_its_own_is_the_same_bit_for_bit(tmp_path, optimizer):
    trained(tmp_path / "whole", optimizer=optimizer)
    trained(tmp_path / "run", stop_at=7, optimizer=optimizer)
    Trainer.resume(tmp_path / "run", TEXT).run()
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_the_parameters_of_a_run_are_counted_whatever_its_optimizer_keeps(tmp_path):
    counts = set()
    for name, optimizer in (("adamw", ""), ("sgd", "torch.optim:SGD"), ("muon", MUON)):
        run = trained(tmp_path / name, optimizer=optimizer)
        counts |= {finished(tmp_path / name, 1).parameters, sum(p.numel() for p in run.model.parameters())}
    assert len(counts) == 1


def test_muon_gets_the_matrices_of_the_blocks_and_adamw_the_rest():
    config = tiny_config(optimizer=MUON, optimizer_lr=0.3)
    model = build_model(config, vocab_size=5)
    muon, adamw = build_optimizers(model, config).each
    matrices, others = split_parameters(model)
    assert type(muon) is Muon and type(adamw) is torch.optim.AdamW
    held = [{id(p) for group in one.param_groups for p in group["params"]} for one in (muon, adamw)]
    assert held == [set(map(id, matrices)), set(map(id, others))]
    assert muon.param_groups[0]["lr"] == 0.3


def test_all_rates_follow_the_schedule_each_from_its_own_height():
    config = tiny_config(optimizer=MUON, optimizer_lr=0.3, lr=1e-2, min_lr=1e-3, warmup=3, steps=12)
    optimizers = build_optimizers(build_model(config, vocab_size=5), config)
    for step, share in ((1, 1 / 3), (3, 1.0), (12, 0.1)):
        optimizers.set_rates(step)
        rates = [group["lr"] for one in optimizers.each for group in one.param_groups]
        assert rates == pytest.approx([0.3 * share, *[1e-2 * share] * (len(rates) - 1)])


def test_an_optimizer_of_its_own_changes_what_is_learned(tmp_path):
    trained(tmp_path / "muon", optimizer=MUON)
    trained(tmp_path / "adamw")
    assert losses(tmp_path / "muon")[-1] != losses(tmp_path / "adamw")[-1]
    names = checkpoint.load(tmp_path / "muon" / checkpoint.LAST).part("optimizer")
    assert "blocks.0.attention.proj.weight.momentum" in names
    assert "lm_head.weight.exp_avg" in names and "blocks.0.ln1.weight.exp_avg" in names


@pytest.mark.parametrize(
    "name, told",
    [
        ("Fixed", "changes parameters while the rate is 0"),
        ("Forgets", "goes on differently after it was saved and resumed"),
        ("Lazy", "leaves a parameter of shape"),
        ("Breaks", "fails in step: RuntimeError: no idea (own_optimizers.py, line"),
        ("Unsaved", "cannot be saved"),
        ("NotAnOptimizer", "something that is no torch.optim.Optimizer class"),
        ("Missing", "nothing of that name"),
    ],
)
def test_what_is_wrong_with_an_optimizer_is_said_before_it_trains(name, told):
    config = tiny_config(optimizer=f"{OWN}:{name}")
    with pytest.raises(ValueError) as caught:
        build_optimizers(build_model(config, vocab_size=5), config)
    assert told in str(caught.value) and str(caught.value).startswith((f"{OWN}:{name}", f"'{OWN}:{name}'"))


def test_a_split_that_loses_a_parameter_is_refused(monkeypatch):
    monkeypatch.setattr(own_optimizers.split_parameters, "loses", True, raising=False)
    config = tiny_config(optimizer=f"{OWN}:OnMatrices")
    with pytest.raises(ValueError, match="each belongs into one of the two lists, once"):
        build_optimizers(build_model(config, vocab_size=5), config)


def test_a_trial_draws_no_number_of_the_run():
    config = tiny_config(optimizer=MUON)
    model = build_model(config, vocab_size=5)
    torch.manual_seed(3)
    build_optimizers(model, config)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))


def test_a_rate_without_an_optimizer_of_its_own_is_refused():
    with pytest.raises(
        ValueError, match="optimizer_lr is 0.1; it must be left out unless optimizer is given"
    ):
        tiny_config(optimizer_lr=0.1)


# A model of your own.


class LeaksAhead(GPT):
    def logits(self, idx):
        return super().logits(idx) + super().logits(idx).flip(1)


class WithoutTargets(GPT):
    def forward(self, idx, targets=None):
        return self.logits(idx)[:, :, :-1], None


class MixesTheBatch(GPT):
    def logits(self, idx):
        logits = super().logits(idx)
        return logits + logits.mean(0, keepdim=True)


class TakesNoParts(GPT):
    def __init__(self, config):
        super().__init__(config)


def test_a_tied_model_trains_resumes_and_is_loaded_with_one_matrix(tmp_path):
    trained(tmp_path / "whole", model=TIED)
    trained(tmp_path / "run", stop_at=7, model=TIED)
    Trainer.resume(tmp_path / "run", TEXT).run()
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    model = load_trained(tmp_path / "run").model
    assert model.lm_head.weight is model.token_embedding_table.weight


@pytest.mark.parametrize(
    "name, told",
    [
        ("LeaksAhead", "lets a token see later ones"),
        ("WithoutTargets", "they are (B, T, V) = (2, 4, 5)"),
        ("MixesTheBatch", "mixes the sequences of a batch"),
        ("TakesNoParts", "cannot be built"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_before_it_trains(name, told):
    config = tiny_config(model=f"{__name__}:{name}")
    with pytest.raises(ValueError) as caught:
        build_model(config, vocab_size=5)
    assert told in str(caught.value)


def test_a_model_is_a_rung_or_a_class():
    with pytest.raises(ValueError, match="or module:Class for a GPT of your own"):
        tiny_config(model="tied")
