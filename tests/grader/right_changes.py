"""Right attempts that differ from a solution in a few places: name -> (find, put) pairs, as in a
catalogue."""

TO_ADD = {
    # Two backward passes for each update, and an evaluation with gradients on held-out problems in between.
    "accumulates": (
        ("import VOCABULARY, is_held_out", "import VOCABULARY, is_held_out, sample_held_out"),
        (
            "        logits, _ = model(x)\n        loss = masked_loss(logits, y)\n"
            "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n",
            "        optimizer.zero_grad()\n        for half_x, half_y in zip(x.chunk(2), y.chunk(2)):\n     "
            "       loss = masked_loss(model(half_x)[0], half_y)\n            (loss / 2).backward()\n       "
            " if step % 5 == 0:\n            test = sample_held_out(8, n_digits, "
            "torch.Generator().manual_seed(1))\n            masked_loss(model(make_batch(*(t.to(device) for "
            "t in test), n_digits)[0])[0], y[:8])\n",
        ),
    ),
    # An average of the weights is returned; a copy of the model decodes; problems picked from a table of all.
    "averaged": (
        ("import math\n", "import copy\nimport math\n\nTABLES = {}\n"),
        (
            "    kept, missing = [], count\n",
            "    if n_digits <= 3:\n"
            "        if n_digits not in TABLES:\n"
            "            codes = torch.arange(10 ** (2 * n_digits))\n"
            "            kept = ~is_held_out(codes // 10**n_digits, codes % 10**n_digits, n_digits)\n"
            "            TABLES[n_digits] = codes[kept]\n"
            "        codes = TABLES[n_digits]\n"
            "        codes = codes[torch.randint(len(codes), (count,), generator=generator)]\n"
            "        return codes // 10**n_digits, codes % 10**n_digits\n"
            "    kept, missing = [], count\n",
        ),
        (
            "    modes = [(module, module.training) for module in model.modules()]\n    model.eval()\n",
            "    model = copy.deepcopy(model).eval()\n",
        ),
        ("    for module, training in modes:\n        module.training = training\n", ""),
        (
            "    for step in range(steps):\n",
            "    average = copy.deepcopy(model)\n    for step in range(steps):\n",
        ),
        (
            "        optimizer.step()\n",
            "        optimizer.step()\n"
            "        with torch.no_grad():\n"
            "            for slow, fast in zip(average.parameters(), model.parameters()):\n"
            "                slow.lerp_(fast, 1 - min(0.98, step / (step + 10)))\n",
        ),
        ("    return model\n", "    return average\n"),
    ),
    # The weights come back in bfloat16, the batch is int8 on its way, the loss is an average by weights.
    "bfloat16_returned": (
        (
            "    x, y = tokens[:, :-1], tokens[:, 1:].clone()\n",
            "    tokens = tokens.to(torch.int8)\n    x, y = tokens[:, :-1].long(), tokens[:, 1:].long()\n",
        ),
        (
            "    total = F.cross_entropy(logits.reshape(flat.shape[0], -1), flat, ignore_index=-1, "
            'reduction="sum")\n'
            "    return total / (flat != -1).sum().clamp(min=1)\n",
            "    weight = (flat != -1).to(logits.dtype)\n"
            "    logp = torch.log_softmax(logits.reshape(flat.shape[0], -1), dim=-1)\n"
            "    picked = torch.gather(logp, 1, flat.clamp(min=0)[:, None])[:, 0]\n"
            "    return -(picked * weight).sum() / weight.sum().clamp(min=1)\n",
        ),
        ("    return model\n", "    return model.to(torch.bfloat16)\n"),
    ),
    # Gradients by torch.func over a dict of parameters, and an update of its own.
    "functional": (
        (
            "    optimizer = torch.optim.AdamW(\n"
            "        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True\n"
            "    )\n",
            "    weights = {k: p.detach().clone() for k, p in model.named_parameters()}\n"
            "    first = {k: torch.zeros_like(p) for k, p in weights.items()}\n"
            "    second = {k: torch.zeros_like(p) for k, p in weights.items()}\n\n"
            "    def objective(weights, x, y):\n"
            "        return masked_loss(torch.func.functional_call(model, weights, (x,))[0], y)\n\n",
        ),
        (
            '        for group in optimizer.param_groups:\n            group["lr"] = learning_rate(step, '
            "steps)\n",
            "",
        ),
        (
            "        logits, _ = model(x)\n        loss = masked_loss(logits, y)\n"
            "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n"
            "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n        optimizer.step()\n",
            "        gradients, loss = torch.func.grad_and_value(objective)(weights, x, y)\n"
            "        norm = sum(g.square().sum() for g in gradients.values()).sqrt().clamp(min=1.0)\n"
            "        for k, g in gradients.items():\n"
            "            g = g / norm\n"
            "            first[k] = 0.9 * first[k] + 0.1 * g\n"
            "            second[k] = 0.99 * second[k] + 0.01 * g * g\n"
            "            up = first[k] / (1 - 0.9 ** (step + 1))\n"
            "            down = (second[k] / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8\n"
            "            weights[k] = weights[k] - learning_rate(step, steps) * up / down\n"
            "        with torch.no_grad():\n"
            "            for k, p in model.named_parameters():\n"
            "                p.copy_(weights[k])\n",
        ),
    ),
    # One optimizer for matrices and one for the rest; the seed by way of the global generator; dropout.
    "two_optimizers": (
        (
            "generator = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers for every "
            "device\n",
            "generator = torch.manual_seed(seed)\n",
        ),
        ("n_embd=64, dropout=0.0\n", "n_embd=64, dropout=0.05\n"),
        (
            "    optimizer = torch.optim.AdamW(\n"
            "        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True\n"
            "    )\n",
            "    matrices = [p for p in model.parameters() if p.dim() > 1]\n"
            "    others = [p for p in model.parameters() if p.dim() < 2]\n"
            "    optimizers = [torch.optim.AdamW(matrices, lr=3e-3), torch.optim.Adam(others, lr=3e-3)]\n",
        ),
        (
            '        for group in optimizer.param_groups:\n            group["lr"] = learning_rate(step, '
            "steps)\n",
            "        for optimizer in optimizers:\n"
            '            optimizer.param_groups[0]["lr"] = learning_rate(step, steps)\n',
        ),
        ("        optimizer.zero_grad(set_to_none=True)\n", "        model.zero_grad()\n"),
        (
            "        optimizer.step()\n",
            "        for optimizer in optimizers:\n            optimizer.step()\n",
        ),
    ),
}
