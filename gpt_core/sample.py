"""Let a trained model write: python -m gpt_core.sample RUN --prompt "ROMEO:"

RUN is the folder of a run, which means its best checkpoint, or one of its checkpoints.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gpt_core.device import choose_device, choose_threads
from gpt_core.sampling import GREEDY, Sampling, generate, stream
from gpt_core.terminal import fail, forgive_output, leave_output
from gpt_core.train_config import MOST
from gpt_core.trained import load_trained

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(fail(f"{message}; --help lists what there is.", BAD_INPUT))


def parser() -> argparse.ArgumentParser:
    p = _Parser(prog="python -m gpt_core.sample", description="Let a trained model write.")
    p.add_argument("run", type=Path, help="the folder of a run, or a checkpoint")
    p.add_argument("--prompt", default="\n", help="the text to go on from (default: a line end)")
    p.add_argument("--tokens", type=int, default=500, help="how many characters to write (default: 500)")
    p.add_argument("--samples", type=int, default=1, help="how many texts, written side by side in a batch")
    p.add_argument("--greedy", action="store_true", help="always the most probable character")
    p.add_argument("--temperature", type=float, default=1.0, help="below 1 bolder, above 1 wilder")
    p.add_argument("--top-k", type=int, help="only the k most probable characters")
    p.add_argument("--top-p", type=float, help="only the most probable characters that reach p together")
    p.add_argument("--min-p", type=float, help="only characters at least this share of the best one")
    p.add_argument("--seed", type=int, default=1337, help="the same seed writes the same text")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    p.add_argument("--no-cache", action="store_true", help="compute every token anew: slower, the same text")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 1 it could not be, 2 bad input, 130 stopped by Ctrl-C."""
    forgive_output()
    options = parser().parse_args(arguments)
    try:
        return _sample(options)
    except ValueError as error:
        return fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        leave_output()
        return OK
    except OSError as error:
        leave_output()
        return fail(f"The text cannot be written: {error.strerror or error}.", FAILED)
    except (MemoryError, OverflowError):
        return fail("There is not enough memory for so many texts at once: fewer --samples take less.", FAILED)


def _sample(options) -> int:
    sampling = GREEDY if options.greedy else Sampling(
        options.temperature, options.top_k, options.top_p, options.min_p
    )
    if options.tokens < 0:
        raise ValueError(f"--tokens is {options.tokens}; it must be 0 or more.")
    if not 1 <= options.samples < MOST:
        raise ValueError(f"--samples is {options.samples}; it must be at least 1 and below 2**31.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed is {options.seed}; it must be from 0 to 2**63 - 1.")
    device = choose_device(options.device)
    trained = load_trained(options.run, device=device)
    # One token at a time is too little work to share: more threads would mostly wait for each other.
    torch.set_num_threads(choose_threads(replace(trained.config, batch_size=options.samples, threads=0)))
    tokenizer = trained.tokenizer
    if trained.step == 0:
        print(f"{options.run}: this model is from before the first step; what it writes is noise.", file=sys.stderr)
    try:
        prompt = tokenizer.encode(options.prompt)
    except ValueError as error:
        what = str(error).split(";")[0]
        way = "in bash a line end is written $'ANNE:\\n'" if "\\n" in options.prompt else "take it out of the prompt"
        raise ValueError(f"the prompt cannot be written in the model's characters: {what}; {way}.") from None
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character, a line end for example.")
    idx = torch.tensor([prompt] * options.samples, device=device)
    settings = {
        "generator": torch.Generator(device).manual_seed(options.seed), "sampling": sampling,
        "cache": False if options.no_cache else None,
    }
    if options.samples == 1:
        tokens = stream(trained.model, idx, options.tokens, **settings)
        print(options.prompt, end="", flush=True)
        for token in tokens:
            print(tokenizer.decode(token), end="", flush=True)
        print()
        return OK
    for number, row in enumerate(generate(trained.model, idx, options.tokens, **settings), start=1):
        print(f"--- {number} of {options.samples}")
        print(tokenizer.decode(row))
    return OK


if __name__ == "__main__":
    sys.exit(main())
