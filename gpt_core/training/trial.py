"""A part or a model of your own, tried on a few numbers before it trains for minutes.

The mistakes that are looked for here raise no error in training: with a mask missing, the validation loss is
too good to be true; a list of layers that should be a ModuleList is neither trained nor saved."""

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn as nn

from gpt_core.config import GPTConfig
from gpt_core.kv_cache import cache_of, can_use_cache
from gpt_core.layers import Factory
from gpt_core.models import LanguageModel
from gpt_core.training.out_of_memory import is_out_of_memory


def try_part(spec: str, factory: Factory, sizes: GPTConfig) -> None:
    """Build the part twice and call it, on the CPU in float32. spec: its name, for the message.

    Raises ValueError, one sentence with the line of your file, where it cannot be built or fails; where it
    does not turn (B, T, C) into (B, T, C), for a T of block_size too; where a token sees later ones or
    another sequence; where it has weights that its state_dict does not hold; where forward_cached gives other
    numbers than forward.

    Draws from torch's global generator.
    """
    _Trial(spec, factory, sizes).run()


def try_model(spec: str, model: LanguageModel) -> None:
    """Call a model of your own, on the CPU in float32; it is left in train mode.

    spec: its name, for the message.

    Raises ValueError, one sentence, where it fails or does not give logits (B, T, V), and where a token sees
    later ones or another sequence.
    """
    T, V = min(model.config.block_size, 4), model.config.vocab_size
    idx = torch.randint(V, (2, T))

    def logits(idx):
        with explained(spec, type(model), f"fails on tokens of shape {tuple(idx.shape)}"):
            found = model(idx)[0]
        if not isinstance(found, torch.Tensor) or found.shape != (*idx.shape, V):
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ValueError(f"{spec} gives {got} for logits; they are (B, T, V) = {(*idx.shape, V)}.")
        return found

    model.eval()
    with torch.no_grad():
        before, other = logits(idx), (idx + 1) % V
        for t in range(1, T):
            if not _same(logits(torch.cat([idx[:, :t], other[:, t:]], dim=1))[:, :t], before[:, :t]):
                raise ValueError(
                    f"{spec} lets a token see later ones (token {t} moves the logits before it), so a loss "
                    "with it means nothing."
                )
        if not _same(logits(torch.stack([idx[0], other[1]]))[0], before[0]):
            raise ValueError(f"{spec} mixes the sequences of a batch: along which dimension does it compute?")
    model.train()


class _Trial:
    def __init__(self, spec: str, factory: Factory, sizes: GPTConfig):
        self.spec, self.factory, self.sizes = spec, factory, sizes

    def run(self) -> None:
        part, C, T = self.build(), self.sizes.n_embd, min(self.sizes.block_size, 4)
        x = torch.randn(2, T, C)
        with torch.no_grad():
            self.call(part, x)  # in train mode, as the trainer will
            part.eval()
            y = self.call(part, x)
            if not y.isfinite().all():
                raise ValueError(
                    f"{self.spec} gives {'nan' if y.isnan().any() else 'inf'} before it has learned "
                    "anything: does the mask leave every token something to see, and is nothing divided by "
                    "0?"
                )
            self.call(part, torch.randn(1, self.sizes.block_size, C))
            self.look_for_leaks(part, x, y)
            self.look_for_hidden_weights(part, x, y)
            if can_use_cache(part):
                self.compare_cached(part, x, y)

    def build(self) -> nn.Module:
        name = self.spec.partition(":")[2]
        with explained(
            self.spec,
            self.factory,
            "cannot be built",
            f"; it is built as {name}(config), with the GPTConfig of the run: config.n_embd is the width",
        ):
            return self.factory(self.sizes)

    def call(self, part: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """The output for x (B, T, C), of the same shape."""
        torch.manual_seed(0)  # a part that draws random numbers here draws the same each time
        with explained(self.spec, self.factory, f"fails on an input of shape {tuple(x.shape)}"):
            out = part(x.clone())
        if not isinstance(out, torch.Tensor) or out.shape != x.shape:
            got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise ValueError(
                f"{self.spec} turns {tuple(x.shape)} into {got}; a part keeps the shape (B, T, C)."
            )
        if out.dtype != x.dtype:
            raise ValueError(
                f"{self.spec} turns {_short(x.dtype)} into {_short(out.dtype)}; a part keeps the dtype."
            )
        return out

    def look_for_leaks(self, part: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        for t in range(1, x.shape[1]):
            other = x.clone()
            other[:, t] += torch.randn(x.shape[2])
            if not _same(self.call(part, other)[:, :t], y[:, :t]):
                raise ValueError(
                    f"{self.spec} lets a token see later ones (token {t} moves the outputs before it), so a "
                    "loss with it means nothing: mask the later ones, normalise each token over its own "
                    "channels."
                )
        other = x.clone()
        other[1] = torch.randn(x.shape[1:])
        if not _same(self.call(part, other)[0], y[0]):
            raise ValueError(
                f"{self.spec} mixes the sequences of a batch: along which dimension does it compute?"
            )

    def look_for_hidden_weights(self, part: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        torch.manual_seed(1)
        second = self.build().eval()
        state = part.state_dict()
        odd = [
            name for name, value in state.items() if not isinstance(value, torch.Tensor) or value.is_complex()
        ]
        if odd:
            raise ValueError(
                f"{self.spec} has {odd[0]} in its state_dict, which is no real tensor and cannot be trained "
                f"and saved."
            )
        with explained(self.spec, self.factory, "does not take its own weights back"):
            second.load_state_dict(state)
        if not _same(self.call(second, x), y):
            raise ValueError(
                f"{self.spec} has weights that torch does not know of, so they would neither be trained nor "
                "saved: put layers into an nn.ModuleList, tensors into an nn.Parameter or register_buffer."
            )

    def compare_cached(self, part: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        with explained(
            self.spec,
            self.factory,
            "fails in forward_cached",
            "; without that method it generates without a cache",
        ):
            cache = cache_of(part)
            pieces = [cache.outputs(piece) for piece in x.split(max(1, x.shape[1] - 1), dim=1)]
        if not _same(torch.cat(pieces, dim=1), y):
            raise ValueError(
                f"{self.spec}: forward_cached gives other numbers than forward, and so would write another "
                "text; correct it, or take it out to generate without a cache."
            )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class explained:
    """Turns whatever a part raises inside into one sentence: what happened, and in which line of its file."""

    def __init__(self, spec: str, factory: Callable, what: str, way: str = ""):
        self.spec, self.factory, self.what, self.way = spec, factory, what, way

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if not isinstance(error, Exception) or is_out_of_memory(error):
            return
        if isinstance(error, NotImplementedError):
            raise ValueError(f"{self.spec} is not written yet: {first_line(error)}") from error
        raise ValueError(
            f"{self.spec} {self.what}: {first_line(error)}{line_in(self.factory, error)}{self.way}"
        ) from error


def first_line(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def line_in(part: Callable, error: Exception) -> str:
    """ " (mine.py, line 12)": where in the file of `part` an error arose; "" where it did not arise there."""
    try:
        file = inspect.getfile(part)
    except (TypeError, OSError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if lines else ""
