"""Let a trained model write: python -m gpt_core.sample RUN

    python -m gpt_core.sample runs/toy --prompt "ANNE:" --temperature 0.7
    python -m gpt_core.sample runs/toy --prompt-file scene.txt --stop "ANNE:"

RUN is the folder of a run, which means its best checkpoint, or one of its checkpoints.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from data import corpora
from gpt_core.sampling import GREEDY, Sampling, stream
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training.command import BAD_INPUT, ERRORS_OF_INPUT, FAILED, INTERRUPTED, OK, Parser, begin
from gpt_core.training.device import choose_device, choose_threads
from gpt_core.training.out_of_memory import OutOfMemory, memory_for
from gpt_core.training.terminal import fail, leave_output, note, printable
from gpt_core.training.train_config import MOST
from gpt_core.training.trained import load_trained


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m gpt_core.sample", description="Let a trained model write.")
    p.add_argument("run", type=Path, help="the folder of a run, or a checkpoint")
    prompt = p.add_mutually_exclusive_group()
    default = "a line end, or the corpus' first character where it has none"
    prompt.add_argument("--prompt", metavar="TEXT", help=f"the text to go on from (default: {default})")
    prompt.add_argument("--prompt-file", type=Path, metavar="FILE", help="a UTF-8 file with that text")
    p.add_argument("--stop", metavar="TEXT", help="end a text once the model has written this")
    p.add_argument("--tokens", type=int, default=500, help="how many characters to write (default: 500)")
    p.add_argument("--samples", type=int, default=1, help="how many texts, written side by side in a batch")
    p.add_argument("--greedy", action="store_true", help="always the most probable character")
    p.add_argument("--temperature", type=float, default=1.0, help="below 1 bolder, above 1 wilder")
    p.add_argument("--top-k", type=int, help="only the k most probable characters")
    p.add_argument("--top-p", type=float, help="only the most probable characters that reach p together")
    p.add_argument("--min-p", type=float, help="only characters at least this share of the best one")
    p.add_argument("--seed", type=int, default=1337, help="the same seed writes the same text")
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    p.add_argument("--no-cache", action="store_true", help="compute every token anew: slower, the same text")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 1 it could not be, 2 bad input, 130 stopped by Ctrl-C."""
    begin()
    options = parser().parse_args(arguments)
    try:
        return _sample(options)
    except ERRORS_OF_INPUT as error:
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
    except OutOfMemory as error:
        return fail(str(error), FAILED)


def _sample(options) -> int:
    sampling = (
        GREEDY
        if options.greedy
        else Sampling(options.temperature, options.top_k, options.top_p, options.min_p)
    )
    if options.tokens < 0:
        raise ValueError(f"--tokens is {options.tokens}; it must be 0 or more.")
    if not 1 <= options.samples < MOST:
        raise ValueError(f"--samples is {options.samples}; it must be at least 1 and below 2**31.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed is {options.seed}; it must be from 0 to 2**63 - 1.")
    device = choose_device(options.device, note=note)
    with memory_for(f"to load the model of {options.run}", "sample on a machine that has more"):
        trained = load_trained(options.run, device=device)
    # One token at a time is too little work to share: more threads would mostly wait for each other.
    torch.set_num_threads(choose_threads(replace(trained.config, batch_size=options.samples, threads=0)))
    tokenizer = trained.tokenizer
    if trained.step == 0:
        note(f"{options.run}: this model is from before the first step; what it writes is noise.")
    text = _prompt(options, trained.start)
    prompt = encode(tokenizer, text, "the prompt")
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character.")
    if options.stop == "":
        raise ValueError("--stop is empty; give the text after which to stop, or leave it out.")
    stop = encode(tokenizer, options.stop or "", "--stop")
    cache = False if options.no_cache else None
    fewer = "fewer --samples take less" if options.samples > 1 else "sample on a machine that has more"
    with memory_for(f"to write {options.samples} text{'s at once' if options.samples > 1 else ''}", fewer):
        idx = torch.tensor([prompt], device=device).expand(options.samples, -1)
        tokens = stream(
            trained.model,
            idx,
            options.tokens,
            sampling=sampling,
            stop=stop,
            cache=cache,
            generator=torch.Generator(device).manual_seed(options.seed),
        )
        # A terminal obeys control characters; a file is to have the text as it is.
        shown = printable if sys.stdout.isatty() else str
        if options.samples == 1:
            print(shown(text), end="", flush=True)
            for token in tokens:
                print(shown(tokenizer.decode(token)), end="", flush=True)
            print()
            return OK
        written = torch.stack([idx[:, 0], *tokens], dim=1)[:, 1:]  # one with no token to stack for --tokens 0
    for number, row in enumerate(written, start=1):
        print(f"--- {number} of {options.samples}")
        print(shown(text + _up_to(options.stop, tokenizer.decode(row))))
    return OK


def _prompt(options, default: str) -> str:
    if options.prompt_file:
        return corpora.read(options.prompt_file)
    return default if options.prompt is None else options.prompt


def encode(tokenizer: CharTokenizer, text: str, what: str) -> list[int]:
    """The tokens of a text that was typed; ValueError, saying what to do, where the model cannot write it."""
    try:
        return tokenizer.encode(text)
    except ValueError as error:
        reason = str(error).rpartition(";")[0]
    meant = text.replace("\\n", "\n")
    way = f"take it out of {what}"
    if meant != text and set(meant) <= set(tokenizer.chars):
        way = f"in bash a line end is written {_in_bash(meant)}"
    raise ValueError(f"{what} cannot be written in the model's characters: {reason}; {way}.")


def _in_bash(text: str) -> str:
    for char, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n")):
        text = text.replace(char, written)
    return f"$'{text}'"


def _up_to(stop: str | None, text: str) -> str:
    """The text to the end of the first `stop` in it: beside longer ones, a sequence goes on after its own."""
    end = text.find(stop) if stop else -1
    return text if end < 0 else text[: end + len(stop)]


if __name__ == "__main__":
    sys.exit(main())
