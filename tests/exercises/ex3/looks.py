"""What exercise 3's checks look at, in plain torch: a transfer between two models, and the groups of an
optimizer.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
`source` and `target` are a pretrained model and a fresh one: {"config", "weights": arrays by parameter name,
"chars": in the order of their ids}."""

import torch

import gpt_core
from grader.worker import probes, tools


def both(source, target, left):
    """The four arguments of transfer_weights; left: both models as their owner left them in the middle of a
    training, with some parts in train mode, some parameters frozen, and the gradients of the last step."""
    arguments = []
    for of_one in (source, target):
        model = tools.build(gpt_core.GPT, tools.config(**of_one["config"]), parameters=of_one["weights"])
        if left:
            probes.condition(model, train=(False, True, False), frozen=(False, True), grad=3.0)
        arguments += [model, gpt_core.CharTokenizer(of_one["chars"])]
    return arguments


def observable(pretrained, source, target, target_tokenizer):
    """All that can be observed of both models, of both tokenizers, and of torch's settings."""
    return {
        "pretrained": tools.state(pretrained), "target": tools.state(target), "settings": probes.settings(),
        "source": tools.attributes(source), "target_tokenizer": tools.attributes(target_tokenizer),
    }  # fmt: skip


def transferred(m, source, target, frozen):
    """What transfer_weights returns, and the target's weights afterwards; frozen: half of the parameters of
    both models are."""
    arguments = both(source, target, left=frozen)
    new = m.transfer_weights(*arguments)
    return {"new": new, "after": tools.values(arguments[2])}


def transfer_seen(m, source, target):
    """All that can be observed before and after."""
    arguments = both(source, target, left=True)
    before = observable(*arguments)
    m.transfer_weights(*arguments)
    return {"before": before, "after": observable(*arguments)}


def changed_afterwards(m, source, target):
    """The weights of both models after those of the target were changed, and the target's after those of the
    source were."""
    arguments = both(source, target, left=False)
    m.transfer_weights(*arguments)
    pretrained, _, model, _ = arguments
    tools.add_to_parameters(model, 1.0)
    found = {"source": tools.values(pretrained), "target": tools.values(model)}
    tools.add_to_parameters(pretrained, 1.0)
    return found | {"target_later": tools.values(model)}


def transfer_refused(m, source, targets):
    """What the call comes to with each target, and all that can be observed before and after."""
    found = {}
    for i, target in enumerate(targets):
        arguments = both(source, target, left=True)
        found[f"before{i}"] = observable(*arguments)
        found[f"came{i}"] = tools.outcome(m.transfer_weights, *arguments)
        found[f"after{i}"] = observable(*arguments)
    return found


def optimizer(m, config, own, lr, weight_decay, frozen, tied, keyword):
    """The groups of finetune_optimizer's optimizer of a GPT.

    own: shapes of parameters, by name, that it has beside those of its Linears and Embeddings. frozen: in the
    order of parameters(), repeated. tied: its output weights are its embedding's. keyword: lr and
    weight_decay are passed by name."""
    model = tools.build(gpt_core.GPT, tools.config(**config), train=True)
    for name, shape in own.items():
        owner, _, last = name.rpartition(".")
        model.get_submodule(owner).register_parameter(last, torch.nn.Parameter(torch.ones(shape)))
    if tied:
        tools.tie(model)
    probes.condition(model, train=(True,), frozen=frozen, grad=None)
    if keyword:
        made = m.finetune_optimizer(model, lr=lr, weight_decay=weight_decay)
    else:
        made = m.finetune_optimizer(model, lr, weight_decay)
    return tools.groups(made, model)


def second_optimizer(m, config):
    """The groups of a model's second optimizer, and for how many parameters it has a state, after an update
    with the first."""
    model = tools.build(gpt_core.GPT, tools.config(**config), train=True)
    tools.update(m.finetune_optimizer(model, 1e-3, 0.1), model)
    return tools.groups(m.finetune_optimizer(model, 1e-3, 0.1), model)
