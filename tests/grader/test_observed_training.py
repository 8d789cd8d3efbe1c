"""What the grader counts as an update and sees as training data, for training loops written in many ways."""

import copy

import pytest
import torch
from torch.nn import functional as F

import gpt_core
from grader.worker import probes

STEPS, T, V = 3, 6, 10


def batch(B=4):
    rows = torch.randint(V, (B, T + 1))
    return rows[:, :-1], rows[:, 1:]


def new_model():
    return gpt_core.GPT(
        gpt_core.GPTConfig(vocab_size=V, block_size=T, n_layer=1, n_head=2, n_embd=8, dropout=0.0)
    )


def by_parts(model, x):
    embedded = model.token_embedding_table(x) + model.position_embedding_table(torch.arange(x.shape[1]))
    return model.lm_head(model.ln_f(model.blocks(embedded)))


def loss_of(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def loop(model, optimizer, steps, logits=lambda model, x: model(x)[0]):
    for _ in range(steps):
        x, y = batch()
        optimizer.zero_grad()
        loss_of(logits(model, x), y).backward()
        optimizer.step()
    return model


def adam(parameters):
    return torch.optim.AdamW(list(parameters), lr=1e-2)


def ordinary(steps, report):
    model = new_model()
    return loop(model, adam(model.parameters()), steps)


def calls_the_parts(steps, report):
    model = new_model()
    return loop(model, adam(model.parameters()), steps, by_parts)


def two_optimizers_together(steps, report):
    model = new_model()
    one, other = adam(model.blocks.parameters()), adam(model.lm_head.parameters())
    for _ in range(steps):
        x, y = batch()
        model.zero_grad()
        model(x, y)[1].backward()
        one.step()
        other.step()
    return model


def an_optimizer_for_each_parameter_steps_in_the_backward_pass(steps, report):
    model = new_model()
    optimizers = {parameter: adam([parameter]) for parameter in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(steps):
        x, y = batch()
        model(x, y)[1].backward()
    return model


def gradients_of_two_batches(steps, report):
    model = new_model()
    optimizer = adam(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(2):
            x, y = batch()
            model(x, y)[1].backward()
        optimizer.step()
    return model


def by_hand(steps, report):
    model = new_model()
    for _ in range(steps):
        x, y = batch()
        gradients = torch.autograd.grad(model(x, y)[1], list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients):
                parameter -= 0.1 * gradient
    return model


def functional_weights_in_an_optimizer(steps, report):
    model = new_model()
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    loop(
        model,
        adam(weights.values()),
        steps,
        lambda model, x: torch.func.functional_call(model, weights, (x,))[0],
    )
    model.load_state_dict(weights)
    return model


def weights_that_are_copied_into_the_model(steps, report):
    model = new_model()
    master = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = adam(master)
    for _ in range(steps):
        x, y = batch()
        model.zero_grad()
        model(x, y)[1].backward()
        for own, p in zip(master, model.parameters()):
            own.grad = p.grad.clone()
        optimizer.step()
        with torch.no_grad():
            for own, p in zip(master, model.parameters()):
                p.copy_(own)
    return model


def averages_and_snapshots_are_evaluated(steps, report):
    model = new_model()
    optimizer, average, kept = adam(model.parameters()), copy.deepcopy(model), []
    for _ in range(steps):
        loop(model, optimizer, 1)
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters()):
                slow.lerp_(fast, 0.5)
        average(*batch())  # with gradients on, which costs memory and trains nothing
        kept.append(copy.deepcopy(model.state_dict()))
        model.load_state_dict(average.state_dict())
        model(*batch())
        model.load_state_dict(kept[-1])
    return average


def transferred_weights(steps, report):
    first, model = new_model(), new_model()
    model(*batch())
    model.load_state_dict(first.state_dict())
    return loop(model, adam(model.parameters()), steps)


def sharpness_aware(steps, report):
    model = new_model()
    optimizer = adam(model.parameters())
    for _ in range(steps):
        x, y = batch()
        uphill = [
            0.05 * gradient for gradient in torch.autograd.grad(model(x, y)[1], list(model.parameters()))
        ]
        torch._foreach_add_([p.data for p in model.parameters()], uphill)
        optimizer.zero_grad()
        model(x, y)[1].backward()
        torch._foreach_sub_([p.data for p in model.parameters()], uphill)
        optimizer.step()
    return model


def a_line_search(steps, report):
    model = new_model()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    for _ in range(steps):
        x, y = batch()

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = model(x, y)[1]
            loss.backward()
            return loss

        optimizer.step(closure)
    return model


RIGHT = (
    ordinary,
    calls_the_parts,
    two_optimizers_together,
    an_optimizer_for_each_parameter_steps_in_the_backward_pass,
    gradients_of_two_batches,
    by_hand,
    functional_weights_in_an_optimizer,
    weights_that_are_copied_into_the_model,
    averages_and_snapshots_are_evaluated,
    transferred_weights,
    sharpness_aware,
    a_line_search,
)


@pytest.mark.slow
@pytest.mark.parametrize("run", RIGHT, ids=lambda run: run.__name__)
def test_a_loop_of_as_many_updates_as_were_asked_for_is_counted_so_and_its_data_seen(run):
    seen = probes.observe(run, (), {"steps": STEPS}, T, 0, 64, None)
    assert (seen.updates, seen.ended) == (STEPS, False)
    assert len(seen.rows) >= 4 * STEPS and set(seen.rows_mode.tolist()) == {probes.DROPOUT.index("on")}
    known = seen.targets != probes.NO_TOKEN
    # whose lm_head has another weight for the time of a call
    if run is not functional_weights_in_an_optimizer:
        assert known.float().mean() > 0.9
    assert torch.equal(seen.targets[:, :-1][known[:, :-1]], seen.rows[:, 1:][known[:, :-1]])


def best_of_two_runs(steps, report):
    return [ordinary(steps, report) for _ in range(2)][0]


def two_models_side_by_side(steps, report):
    models = [new_model(), new_model()]
    optimizer = adam(p for model in models for p in model.parameters())
    for _ in range(steps):
        x, y = batch()
        optimizer.zero_grad()
        sum(model(x, y)[1] for model in models).backward()
        optimizer.step()
    return models[0]


def two_models_with_an_optimizer_each(steps, report):
    models = [new_model(), new_model()]
    optimizers = [adam(model.parameters()) for model in models]
    for _ in range(steps):
        x, y = batch()
        for model in models:
            model.zero_grad()
            model(x, y)[1].backward()
        for optimizer in optimizers:
            optimizer.step()
    return models[0]


def by_hand_and_by_an_optimizer(steps, report):
    model = new_model()
    optimizer = adam(model.parameters())
    for _ in range(steps):
        x, y = batch()
        gradients = torch.autograd.grad(model(x, y)[1], list(model.parameters()))
        torch._foreach_sub_([p.data for p in model.parameters()], torch._foreach_mul(gradients, 0.1))
        loop(model, optimizer, 1)
    return model


def a_second_phase(steps, report):
    model = ordinary(steps, report)
    return loop(model, adam(model.parameters()), steps)


def an_optimizer_that_only_pretends(steps, report):
    pretends = adam([torch.zeros(1, requires_grad=True)])
    for _ in range(steps):
        pretends.step()
    return by_hand(steps, report)


@pytest.mark.parametrize(
    "run",
    [
        best_of_two_runs,
        two_models_side_by_side,
        two_models_with_an_optimizer_each,
        by_hand_and_by_an_optimizer,
        a_second_phase,
        an_optimizer_that_only_pretends,
    ],
    ids=lambda run: run.__name__,
)
def test_twice_as_many_updates_are_counted_wherever_they_are_made(run):
    assert probes.observe(run, (), {"steps": STEPS}, T, 0, 64, None).updates == 2 * STEPS


def test_a_run_that_goes_on_is_ended_whatever_it_catches():
    def never_ends(steps, report):
        model = new_model()
        while True:
            try:
                loop(model, adam(model.parameters()), 1)
            except Exception:
                pass

    seen = probes.observe(never_ends, (), {"steps": STEPS}, T, 0, 64, None)
    assert seen.ended and seen.model is probes.ENDED and seen.updates == STEPS + probes.SLACK + 1


def test_a_loop_that_looks_tokens_up_behind_the_table_leaves_no_rows():
    def hidden(model, x):
        embedded = (
            F.one_hot(x, V).float() @ model.token_embedding_table.weight
            + model.position_embedding_table.weight[:T]
        )
        return model.lm_head(model.body(embedded))

    def run(steps, report):
        model = new_model()
        return loop(model, adam(model.parameters()), steps, hidden)

    assert len(probes.observe(run, (), {"steps": STEPS}, T, 0, 64, None).rows) == 0


def test_of_large_batches_other_rows_are_kept_each_time():
    def run(steps, report):
        model = new_model()
        optimizer = adam(model.parameters())
        x, y = torch.arange(V).repeat(T, 1).T, torch.zeros(V, T, dtype=torch.long)  # row i holds only i
        for _ in range(V):
            optimizer.zero_grad()
            model(x, y)[1].backward()
            optimizer.step()
        return model

    seen = probes.observe(run, (), {"steps": V}, T, 0, 1, None)
    assert set(seen.rows[:, 0].tolist()) == set(range(V))


def test_nothing_of_the_watching_is_left_behind():
    before = vars(gpt_core.GPT).copy(), F.embedding, F.linear
    probes.observe(ordinary, (), {"steps": 1}, T, 0, 64, None)
    assert (vars(gpt_core.GPT).copy(), F.embedding, F.linear) == before


def changed_by(change):
    model, kept = new_model(), []
    before = probes.state_of(model, kept)
    change(model)
    after = probes.state_of(model, kept)
    plain = {
        key for key in before if key not in ("parameters", "grads", "buffers") and before[key] != after[key]
    }
    return plain | {
        key
        for key in ("parameters", "grads")
        if any(
            not (one is other or torch.equal(one, other))
            for one, other in zip(before[key].values(), after[key].values())
        )
    }


@pytest.mark.parametrize(
    "change, seen",
    [
        (lambda m: None, set()),
        (lambda m: m(*batch()), set()),
        (lambda m: m.lm_head.weight.data.add_(1), {"parameters"}),
        (lambda m: m.eval(), {"modes"}),
        (lambda m: m.blocks.requires_grad_(False), {"frozen"}),
        (lambda m: setattr(m.blocks[0].attention.dropout, "p", 0.5), {"dropout"}),
        (lambda m: m.ln_f.register_forward_hook(print), {"hooks"}),
        (lambda m: m.register_full_backward_pre_hook(print), {"hooks"}),
        (lambda m: m.lm_head.weight.register_hook(print), {"hooks"}),
        (
            lambda m: setattr(m, "config", gpt_core.GPTConfig(vocab_size=V, block_size=T, dropout=0.5)),
            {"config"},
        ),
        (lambda m: setattr(m, "answers", 1), {"attributes"}),
        (lambda m: setattr(m, "forward", print), {"attributes"}),
        (lambda m: setattr(m, "ln_f", torch.nn.LayerNorm(8)), {"modules", "objects", "attributes"}),
    ],
)
def test_whatever_changes_in_a_model_is_seen(change, seen):
    assert changed_by(change) == seen


def test_what_is_reported_is_kept_thinned_out_and_may_be_any_number():
    def run(steps, report):
        for step in range(3000):
            report(step, 3000.0 - step)
        report(10**400, float("inf"))
        return ordinary(steps, report)

    curve = probes.observe(run, (), {"steps": STEPS}, T, 0, 16, None).curve
    assert 100 < len(curve) <= probes.MOST_POINTS and curve[0] == (0.0, 3000.0)
    assert (1e9, float("inf")) in curve and [step for step, _ in curve] == sorted(step for step, _ in curve)
