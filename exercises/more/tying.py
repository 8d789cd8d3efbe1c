"""Weight tying: one table for reading and for writing.

A GPT has a row of C numbers for each token twice: token_embedding_table.weight (V, C) reads a token, and
lm_head.weight (V, C) gives the next one its logit. Press & Wolf (2017, arXiv 1608.05859) use one matrix for
both: V * C fewer parameters, and every row learns from both uses. GPT-2 does so, and nanoGPT.

The contract (`python grade.py tying` checks every line of it):

  TiedGPT(config, ..)                   a subclass of gpt_core.GPT that takes GPT's arguments: attention,
                                        norm, feed_forward and position_embedding by name
    lm_head.weight IS token_embedding_table.weight: one Parameter, listed once, and V * C parameters fewer
    it stays one after copy.deepcopy(model), model.to(..) and a strict load_state_dict of its own state_dict
    it is the same function as GPT with these weights: lm_head.bias is still there, and nothing is scaled
    the first loss is near ln(V), as a GPT's: in eval mode and on random tokens within 5 % of it, at the
    sizes of the presets cpu (C = 128) and lecture (C = 384)

The last line holds as long as the shared matrix is drawn as GPT draws its own. Where you make a new one,
print the first loss: which token does the untrained model predict?

The question: does it improve your GPT? `python exercises/more/tying.py` trains the baseline and your model
(`--preset`, `--seeds`, `--steps`), and says what that shows.
"""

from gpt_core import GPT


class TiedGPT(GPT):
    """A GPT whose output weights are its token embedding."""

    def __init__(self, config, **parts):
        super().__init__(config, **parts)
        raise NotImplementedError("exercise tying: make the two matrices one")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--model", "exercises.more.tying:TiedGPT"]))
