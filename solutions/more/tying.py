"""Weight tying, solved.

The one idea: a Parameter is an object, and two modules may hold the same one. Then there is one tensor, one
gradient that is the sum of both uses, and one entry in parameters(). copy.deepcopy, .to() and load_state_dict
all keep it one, because they go by the object.

What one tries first:
- self.lm_head.weight.data = self.token_embedding_table.weight.data. Two Parameters over one memory: each has
  a gradient of its own, the optimizer updates the same numbers twice, and a copy takes them apart.
- self.lm_head.weight.copy_(..). Equal at the first step, and two matrices after it.
- A new nn.Embedding for both, which draws standard normal numbers: the first loss is 30 times ln(V) at
  C = 128, and 78 times at C = 384 (the presets cpu and lecture). The residual stream still holds the row of
  the token that was read, and its product with that same row is large: the untrained model predicts the very
  token that it reads. GPT-2's std of 0.02, which GPT gives both matrices, makes it 1.01 and 1.02 times.
- Dividing the logits by sqrt(C), or multiplying the embedding with it as the first transformer did (Vaswani
  et al. 2017, arXiv 1706.03762). It changes the first loss too, and is another function of the same weights.

Does it improve the GPT? Measured with this file, `--preset cpu --seeds 3`: 500 steps, paired seeds,
exhaustive validation loss in nats per character, tiny Shakespeare. Two matrices 2.2366, one 2.2574: a
difference of +0.0208, with a 95 % interval from -0.0119 to +0.0536. No difference shown, though all three
seeds were worse. There is little to gain with 65 characters: tying saves 8,320 of 816,705 parameters here,
and 39 of 163 million in a GPT-2.
"""

from gpt_core import GPT


class TiedGPT(GPT):
    """A GPT whose output weights are its token embedding (Press & Wolf 2017)."""

    def __init__(self, config, **parts):
        super().__init__(config, **parts)
        self.lm_head.weight = self.token_embedding_table.weight  # the Parameter itself, not its numbers


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--model", "solutions.more.tying:TiedGPT"]))
