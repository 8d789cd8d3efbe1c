"""The hints of exercise 3, from a nudge to nearly the answer, by the function that they are for."""

HINTS = {
    "": (
        "Four functions, and the last uses the second and the third. remove_overlap needs no model: "
        "write it first, on texts of two lines that you make up.",
        "A model's weights have names and shapes: print them for two GPTs with different vocabularies, "
        "and see which differ. Those are the ones that transfer_weights must treat character by "
        "character.",
        "finetune in words: a tokenizer of the whole text, a GPT with pretrained's config and the new "
        "vocab_size, transfer_weights, an optimizer from finetune_optimizer, a loop over batches of the "
        "first 90 %, and the validation loss before the first step and every so often; the best weights "
        "seen are loaded at the end.",
    ),
    "overlap": (
        "Two texts share a run where a window of 50 characters of one stands somewhere in the other. How "
        "do you look up whether a window was seen, without searching the whole text for it?",
        "First make both texts comparable, each run of whitespace one space and each character lower case by "
        "itself (str.lower of a whole text writes a Greek Σ by its place in the word), and keep for every "
        "character of the result the place in the original that it came from. A set of all windows of the "
        "held-out text answers each question at once.",
        "For every i with clean[i : i + window] in the set, mark the original places of these "
        "characters. A line goes when one of its characters that is no whitespace is marked; lines end "
        "with \\n (splitlines would split at more).",
    ),
    "transfer": (
        "Which parameters depend on the vocabulary, which on the length, and which on neither?",
        "Token table, lm_head.weight and lm_head.bias have one row per character: look each character of "
        "the target up in the source, whatever its id there. The position table is copied up to the "
        "shorter one. Check depth, width and heads before you write anything.",
        "Under torch.no_grad(), for each name in target.named_parameters(): the vocabulary's three row "
        "by row, table[: n].copy_ for positions, parameter.copy_ for the rest. copy_ writes into the "
        "target's own storage; characters that the source does not know keep their rows, and are "
        "returned.",
    ),
    "optimizer": (
        "Decay pulls a weight towards 0. For which parameters of a GPT would that be harmful?",
        "Matrices and tables (two or more dimensions) decay; biases and the weights of norms (one "
        "dimension) do not. What is frozen has requires_grad False and belongs in no group.",
        "trainable = [p for p in model.parameters() if p.requires_grad]; torch.optim.AdamW of two "
        "groups, one with weight_decay for p.dim() >= 2, one with 0.0 for the rest, and lr for both.",
    ),
    "finetune": (
        "The weights that it returns are those with the lowest validation loss, and the weights before the "
        "first step count too. So what must be remembered?",
        "Evaluate in eval mode on text[int(0.9 * len(text)):], before training and every so often; where "
        "the loss is the lowest so far keep {name: value.clone()} of the state. Train on the first 90 % "
        "alone. The validation text only says which weights are best: nothing is counted or fitted on it.",
        "torch.manual_seed(seed) before the new model is made, or its fresh rows and the batches are not "
        "decided by it. Warm up to lr over the first steps, clip the gradient at 1.0, and load the best "
        "state at the end. pretrained is read and never trained or copied whole: the new model is "
        "GPT(replace(pretrained.config, vocab_size=..)), also where no character is new.",
    ),
}

COMPARE = (
    "the curve of the finetuned model and the one from fresh weights: where do they cross, and what does "
    "that say?",
    "what the leak check found in the corpora, and how much a validation loss flatters where it is left out",
    "how remove_overlap keeps its memory small on texts of 80 MB",
)
