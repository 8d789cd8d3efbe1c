"""Exercise 3: pretrain, then finetune, and prove that it helped.

Tiny Shakespeare has a million characters, and a large model memorises them before it has learned much
English. There is far more text that is not Shakespeare: train on that first, then go on with Shakespeare,
in fewer steps.

Why it matters: nearly every model that you will use is made so. And its results are easy to get wrong:
pretraining text that holds what is measured later, more steps for one side of the comparison, a loss
measured with dropout on, the best of several seeds: each shows a gain that is not there. So half of this
exercise is the model, and half is a comparison that can be believed.

The contract (`python grade.py ex3` checks every line of it):

  remove_overlap(pretrain_text, heldout_text, window=50) -> str
    pretrain_text without the lines that share a run with heldout_text.
    A run is `window` consecutive characters that both texts have, where any run of whitespace (str.isspace)
    counts as one space, and case is ignored (str.lower of each character by itself). It may span lines.
    A line ends at "\\n", which belongs to it. It is dropped if at least one of its characters that are not
    whitespace lies in a run. So a line of which only the newline belongs to a run stays, and so does every
    blank line. All other lines stay as they are, in their order.
    Time grows linearly with both texts: the real ones have 83 million characters and one million

  transfer_weights(pretrained, source, target, target_tokenizer) -> list[str]
    writes the weights of `pretrained` (a GPT with the CharTokenizer `source`) into `target`, in place; both
    have default parts. Rows of token_embedding_table and lm_head, and the numbers of lm_head.bias, go by
    character, wherever its id is; rows of position_embedding_table up to the shorter table; all other
    parameters as they are. Characters (and positions) that only the target has keep their fresh weights;
    these characters are returned, in any order.
    ValueError where n_layer, n_embd or n_head differ, and then nothing is written. Nothing else of the
    models and tokenizers changes (modes, config, dropout's p, requires_grad, gradients, the parameter
    objects), and no memory is shared

  finetune_optimizer(model, lr, weight_decay) -> torch.optim.AdamW
    a new one, every group with this lr. Each parameter that requires a gradient is in it exactly once, also
    one that two modules share (some GPTs use one matrix for token_embedding_table and lm_head), or that is no
    Linear's or Embedding's (a GPT may have another attention or norm); decay on parameters of two or more
    dimensions, the tables too, and none on the others; weight_decay may be 0

  finetune(pretrained, source, text, *, steps, lr, device, seed, report) -> (GPT, CharTokenizer)
    a tokenizer of the whole text, and a GPT with pretrained's config but for vocab_size, which starts from
    the transferred weights and is trained on text[:int(0.9 * len(text))], in train mode, with exactly `steps`
    updates on `device` ("cpu" or "cuda"), over all models and optimizers together, at learning rates up to
    lr. `seed` decides the result, in another process too. Of all weights that it evaluates, the
    transferred ones included, those with the lowest loss on the validation text, the other tenth, in eval
    mode, are returned; the validation text serves for that choice alone. How often you evaluate, the batch
    size, decay and warm-up are yours. Call report(step, loss), an int and a float, at least once: it feeds
    a progress bar. ValueError where one of the two parts has fewer than block_size + 1 characters.
    `pretrained` and `source` stay as they were (weights, config, dropout's p, modes, characters), and what
    is frozen in `pretrained` is trained in the new model

A worked example. With window = 9 the held-out text "say HELLO world" and the pretraining text

      hello                shares the run "hello wor", 9 characters: dropped
        world,             the run goes on here: dropped
                           blank: stays
      hello, world         "hello, wo" is no run of the other text: stays

And the vocabularies "bac" of the source and "abx" of the target: row 0 of the target ("a") gets row 1 of
the source, row 1 ("b") gets row 0, row 2 ("x") stays fresh, and ["x"] is returned.

Useful: gpt_core.evaluation.exhaustive_loss(model, tokens), gpt_core.batches (Batches, encode_text).

A file that is graded may start no processes of its own: a DataLoader takes num_workers=0.

`python exercises/ex3_pretrain_finetune.py` runs the real experiment with your functions: half an hour
on a CPU (`--size toy`: seconds). It can be stopped and started again, and prints the comparison.
"""

from collections.abc import Callable

import torch

from gpt_core import GPT, CharTokenizer


def remove_overlap(pretrain_text: str, heldout_text: str, window: int = 50) -> str:
    """`pretrain_text` without the lines that share a run of `window` characters with `heldout_text`."""
    raise NotImplementedError("exercise 3: drop the lines that the held-out text has too")


def transfer_weights(
    pretrained: GPT, source: CharTokenizer, target: GPT, target_tokenizer: CharTokenizer
) -> list[str]:
    """Write the weights of `pretrained` into `target`; the characters that only the target knows."""
    raise NotImplementedError("exercise 3: copy the weights, rows by their characters")


def finetune_optimizer(model: GPT, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """A new AdamW over the parameters that require a gradient, with decay on matrices alone."""
    raise NotImplementedError("exercise 3: make the groups of an AdamW")


def finetune(
    pretrained: GPT,
    source: CharTokenizer,
    text: str,
    *,
    steps: int,
    lr: float,
    device: str,
    seed: int,
    report: Callable[[int, float], None],
) -> tuple[GPT, CharTokenizer]:
    """A GPT that goes on from `pretrained` with `steps` updates on 90 % of `text`, and its tokenizer."""
    raise NotImplementedError("exercise 3: finetune a pretrained model")


if __name__ == "__main__":
    from gpt_core.experiments.pretraining import main

    main(remove_overlap, finetune)
