"""Other right ways to write exercise 4, in which its mistakes must keep their names: patches on
solutions/ex4_rope.py. The attention is written as in the styles of exercise 1."""

from tests.exercises import Style
from tests.exercises.ex1 import styles as of_attention

_CHANNELS = "torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device)  # 2i"
_FREQUENCIES = "base ** (-channels / head_size)  # theta_i, from 1 down to almost 1 / base"
_ANGLES = "return positions.float()[:, None] * frequencies"
_POINTS = (
    "    points = torch.complex(wide[..., 0::2], wide[..., 1::2])  # (.., T, D / 2): x0 + i x1, "
    "x2 + i x3, ..\n"
)
_ROTATED = "    rotated = points * torch.complex(angles.cos(), angles.sin())  # times exp(i angle)\n"
_JOINED = (
    "    return torch.view_as_real(rotated).flatten(-2).to(x.dtype)  # the two of a pair side by side again\n"
)
_WIDE = "wide = x.to(torch.promote_types(x.dtype, torch.float32))"
_POSITIONS = "positions = torch.arange(offset, offset + T, device=x.device)"
_BOTH = "q, k = apply_rope(q, angles), apply_rope(k, angles)"

STYLES = (
    Style(
        "stack_and_flatten",
        (
            (_POINTS, "    first, second = wide[..., 0::2], wide[..., 1::2]\n"),
            (
                _ROTATED,
                "    cos, sin = angles.cos(), angles.sin()\n"
                "    pairs = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)\n",
            ),
            (_JOINED, "    return pairs.flatten(-2).to(x.dtype)\n"),
            *of_attention.EINSUM,
        ),
    ),
    Style(
        "interleaved",
        (
            (
                _POINTS + _ROTATED + _JOINED,
                "    each = angles.repeat_interleave(2, -1)\n"
                "    cos, sin = each.cos(), each.sin()\n"
                "    turned = torch.stack([-wide[..., 1::2], wide[..., ::2]], dim=-1).flatten(-2)\n"
                "    return (wide * cos + turned * sin).to(x.dtype)\n",
            ),
            *of_attention.OWN_SOFTMAX,
        ),
    ),
    Style(
        "float64_inside",
        (
            (_CHANNELS, _CHANNELS.replace("torch.float32", "torch.float64")),
            (_ANGLES, "return (positions.double()[:, None] * frequencies).float()"),
            (_WIDE, "wide = x.double()"),
            *of_attention.FLOAT64,
        ),
        mends=("mask_in_float32",),
    ),
    Style(
        "polar",
        (
            (_POINTS, "    points = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous())\n"),
            (
                _ROTATED,
                "    rotated = points * torch.polar(torch.ones_like(angles), angles).to(points.dtype)\n",
            ),
            *of_attention.FUNCTIONS,
        ),
    ),
    Style(
        "exponential",
        (
            (_FREQUENCIES, "torch.exp(channels * (-math.log(base) / head_size))"),
            (_ANGLES, "return torch.outer(positions.float(), frequencies)"),
            ("import torch\nimport torch.nn as nn\n", "import math\n\nimport torch\nimport torch.nn as nn\n"),
            *of_attention.WHERE,
        ),
    ),
    Style(
        "both_at_once",
        (
            (_BOTH, "q, k = apply_rope(torch.stack([q, k]), angles).unbind(0)"),
            (_POSITIONS, "positions = offset + torch.arange(T, device=x.device)"),
            *of_attention.CONTIGUOUS,
        ),
    ),
    Style(
        "filled",
        (
            (_POINTS, "    one, other = wide[..., 0::2], wide[..., 1::2]\n    rotated = wide.clone()\n"),
            (
                _ROTATED,
                "    rotated[..., 0::2] = one * angles.cos() - other * angles.sin()\n"
                "    rotated[..., 1::2] = other * angles.cos() + one * angles.sin()\n",
            ),
            (_JOINED, "    return rotated.type_as(x)\n"),
            *of_attention.ADDED,
        ),
    ),
    Style("heads_at_once", of_attention.HEADS_AT_ONCE),
)
