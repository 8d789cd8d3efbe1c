"""Look at the attention of a trained model: python -m gpt_core.attention RUN

    python -m gpt_core.attention runs/toy --prompt "ANNE:" --out attention.html
    python -m gpt_core.attention runs/toy --prompt "ANNE:" --gif      needs: pip install -e ".[plot]"

One page of HTML shows every head of every layer on a text: your prompt, and what the model writes on.
RUN is the folder of a run, which means its best checkpoint, or one of its checkpoints.
"""

import argparse
import sys
from pathlib import Path

import torch

from gpt_core.pictures.attention_gif import draw_gathering
from gpt_core.pictures.attention_page import Reading, page, read
from gpt_core.pictures.document import write
from gpt_core.sample import encode
from gpt_core.sampling import Sampling, stream
from gpt_core.training.command import BAD_INPUT, ERRORS_OF_INPUT, FAILED, INTERRUPTED, OK, Parser, begin
from gpt_core.training.device import choose_device
from gpt_core.training.out_of_memory import OutOfMemory, memory_for
from gpt_core.training.terminal import NO_MATPLOTLIB, fail, note, printable
from gpt_core.training.trained import TrainedModel, load_trained

LENGTH = 64  # characters, prompt and all, unless --tokens says otherwise: more are hard to tell apart


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m gpt_core.attention", description="Draw the attention of a trained model.")
    p.add_argument("run", type=Path, help="the folder of a run, or a checkpoint")
    p.add_argument("--prompt", metavar="TEXT", help="the text to look at (default: a line end)")
    p.add_argument(
        "--tokens",
        type=int,
        metavar="N",
        help=f"how many characters the model writes on (default: until there are {LENGTH}, or block_size)",
    )
    p.add_argument("--out", type=Path, default=Path("attention.html"), help="default: attention.html")
    p.add_argument(
        "--head",
        metavar="LAYER.HEAD",
        help="the head to show first, such as 2.3, both from 1 (default: the one that shows a pattern best)",
    )
    p.add_argument(
        "--gif",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="an animation, too: plain averages of the past, then this head's (default: named as --out)",
    )
    p.add_argument("--temperature", type=float, default=1.0, help="below 1 bolder, above 1 wilder, 0 greedy")
    p.add_argument("--seed", type=int, default=1337, help="the same seed writes the same text")
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 drawn, 1 it could not be, 2 bad input, 130 stopped by Ctrl-C."""
    begin()
    options = parser().parse_args(arguments)
    try:
        return _draw(options)
    except ERRORS_OF_INPUT as error:
        return fail(str(error), BAD_INPUT)
    except OSError as error:
        return fail(f"{error.filename or options.out} cannot be written: {error.strerror or error}.", FAILED)
    except OutOfMemory as error:
        return fail(str(error), FAILED)
    except KeyboardInterrupt:
        return fail("Stopped; nothing was written.", INTERRUPTED)


def _draw(options) -> int:
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out is {options.out}; the page is HTML, so its name must end in .html.")
    if not options.out.parent.is_dir():
        raise ValueError(f"there is no folder {options.out.parent} for {options.out.name}; make it first.")
    gif = options.out.with_suffix(".gif") if options.gif == Path() else options.gif
    if gif and gif.suffix.lower() != ".gif":
        raise ValueError(f"--gif is {gif}; the animation's name must end in .gif.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed is {options.seed}; it must be from 0 to 2**63 - 1.")
    sampling = Sampling(options.temperature)
    device = choose_device(options.device, note=note)
    with memory_for(f"to load the model of {options.run}", "look at it on a machine that has more"):
        trained = load_trained(options.run, device=device)
    prompt = encode(
        trained.tokenizer, trained.start if options.prompt is None else options.prompt, "the prompt"
    )
    if trained.step == 0:
        note(f"{options.run}: this model is from before the first step; its heads look at nothing yet.")
    count = _count(options.tokens, len(prompt), trained)
    with memory_for("to read the text", "fewer --tokens take less"):
        generator = torch.Generator(device).manual_seed(options.seed)
        idx = torch.tensor([prompt], device=device)
        written = stream(trained.model, idx, count, sampling=sampling, generator=generator)
        tokens = prompt + [token.item() for token in written]
        reading = read(trained.model, trained.tokenizer, tokens)
    head = _head(options.head, reading)
    write(page(reading, f"Attention of {options.run}", _about(trained), len(prompt), head), options.out)
    print(printable(f"{len(reading.heads())} heads on {len(tokens)} characters: {options.out}"))
    if gif:
        layer, number = head
        try:
            weights = reading.weights[layer - 1][number - 1].numpy()
            draw_gathering(reading.text, weights, f"head {number} of layer {layer}", gif)
        except ImportError:
            return fail(f"no {gif}: {NO_MATPLOTLIB}", FAILED)
        except OSError as error:
            return fail(f"{gif} cannot be written: {error.strerror or error}.", FAILED)
        print(printable(f"head {number} of layer {layer}, animated: {gif}"))
    return OK


def _head(name: str | None, reading: Reading) -> tuple[int, int]:
    """(layer, head), from 1; ValueError where there is none of that name."""
    if name is None:
        return reading.clearest()
    found = {f"{layer}.{head}": (layer, head) for layer, head in reading.heads()}
    if name not in found:
        raise ValueError(f"--head is {name}; the heads go from {min(found)} to {list(found)[-1]}.")
    return found[name]


def _count(tokens: int | None, given: int, trained: TrainedModel) -> int:
    """How many tokens to write; ValueError where prompt and tokens are more than the model sees at once."""
    most = trained.model.config.block_size
    if not given:
        raise ValueError("the prompt is empty; give at least one character.")
    if given > most:
        raise ValueError(
            f"the prompt has {given} characters, and this model sees {most} at once; shorten it by "
            f"{given - most}."
        )
    if tokens is None:
        return max(0, min(LENGTH, most) - given)
    if not 0 <= tokens <= most - given:
        raise ValueError(
            f"--tokens is {tokens}; beside a prompt of {given}, this model, which sees {most} characters at "
            f"once, leaves room for 0 to {most - given}."
        )
    return tokens


def _about(trained: TrainedModel) -> str:
    c = trained.model.config
    return (
        f"{type(trained.model).__name__} after {trained.step} steps on {trained.config.corpus}: n_layer "
        f"{c.n_layer}, n_head {c.n_head}, n_embd {c.n_embd}, block_size {c.block_size}."
    )


if __name__ == "__main__":
    sys.exit(main())
