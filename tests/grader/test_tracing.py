"""Devices without a GPU: what meets a tensor that was made without a device is seen, and every right form of
making one is left alone (grader/worker/devices.py)."""

import types

import pytest
import torch

from grader.worker import devices

# Bodies of f(x, module), x (2, 3) float32 on the device; each would raise on a GPU.
WRONG = {
    "a mask without a device": "return x.masked_fill(torch.ones(2, 3).bool(), 0.0)",
    "a mask made in two steps": "m = torch.tril(torch.ones(3, 3))\nreturn x @ m",
    "a list of numbers": "return x * torch.tensor([1.0, 2.0, 3.0])",
    "a factor in place": "return x.clone().mul_(torch.arange(3.0))",
    "a table of rows": "return torch.nn.functional.embedding(x.long(), torch.randn(9, 2))",
    "a table on the CPU, indexed": "return torch.arange(9.0)[x.long()]",
    "one on either side": "return torch.cat([x, torch.zeros(2, 3)])",
    "a condition": "return torch.where(torch.arange(3) > 1, x, 0.0)",
    "what was moved away": "return x + x.cpu()",
    "an array": "return x.numpy()",
    "from an array": "return x + torch.from_numpy(np.ones((2, 3), dtype=np.float32))",
    "an attribute that is no buffer": "return x @ module.plain",
    "a global table": "return x @ TABLE",
    "a default of an argument": "return defaulted(x)",
    "a layer that is made anew": "return torch.nn.Linear(3, 3)(x)",
    "moved to another stray one": "t = torch.zeros(3)\nreturn x + torch.ones(3).to(t.device)",
    "made where a stray one lies": "t = torch.zeros(3)\nreturn x + torch.ones(3, device=t.device)",
    "caught": "try:\n    return x + torch.ones(3)\nexcept Exception:\n    return x",
}
RIGHT = {
    "device=": "return x + torch.ones(3, device=x.device)",
    "moved": "return x + torch.ones(3).to(x.device)",
    "moved to a tensor": "return x + torch.ones(3).to(x)",
    "moved by its name": "return x + torch.ones(3).to(device=x.device)",
    "as the type of": "return x + torch.ones(3).type_as(x)",
    "like it": "return x + torch.zeros_like(x) + x.new_ones(3) + torch.full_like(x, 2)",
    "a number": "return x + torch.tensor(2.0) + 3",
    "an index on the CPU": "return x[torch.arange(2)] + x[:, torch.tensor([0, 1, 2])]",
    "a row that is written": "y = x.clone()\ny[torch.arange(2)] = 0.0\nreturn y",
    "a copy across devices": "y = torch.empty(2, 3)\ny.copy_(x)\nreturn x + y.to(x.device)",
    "a buffer": "return x @ module.buffer",
    "a default device": "with torch.device(x.device):\n    return x + torch.ones(3)",
    "a default device, set": "torch.set_default_device(x.device)\ny = x + torch.ones(3)\n"
    "torch.set_default_device(None)\nreturn y",
    "a layer on the device": "return torch.nn.Linear(3, 3, device=x.device)(x)",
    "a layer that is moved": "return torch.nn.Linear(3, 3).to(x.device)(x)",
    "through numpy and back": "return x + torch.from_numpy(x.cpu().numpy() + 1).to(x.device)",
    "numbers of it": "return x * x.sum().item() + max(x[0].tolist())",
    "the device in a string": "return x + torch.ones(3, device=str(x.device))",
    "a choice of devices": "d = 'cuda' if x.is_cuda else 'cpu'\nreturn x + torch.ones(3).to(d)",
    "a CPU generator": "g = torch.Generator().manual_seed(1)\nr = torch.rand(3, generator=g)\n"
    "return x + r.to(x.device)",
    "gradients": "x = x.clone().requires_grad_()\n(x * x).sum().backward()\nreturn x + x.grad",
    "a batch that is moved": "t = torch.arange(9.0)\nb = t[torch.arange(3).to(t.device)]\n"
    "return x + b.to(x.device)",
    "vmap": "return torch.func.vmap(lambda row: row * 2)(x)",
    "a function of its own": "return Twice.apply(x) + x",
}
FILE = "learners.py"
HEAD = (
    "import numpy as np\nimport torch\nTABLE = torch.eye(3)\n"
    "def defaulted(x, t=torch.ones(3)):\n    return x + t\n"
    "class Twice(torch.autograd.Function):\n"
    "    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n"
    "    @staticmethod\n    def backward(ctx, g):\n        return 2 * g\n"
    "class Module(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.plain = torch.ones(3, 3)\n        self.register_buffer('buffer', torch.ones(3, 3))\n"
)


def traced(body: str):
    """What f gives, and the mode."""
    module = types.ModuleType("learners")
    module.__file__ = FILE
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    exec(compile(f"{HEAD}def f(x, module):\n{lines}", FILE, "exec"), vars(module))
    with devices.Tracing(module) as tracing:
        of_class = module.Module()
        devices.place(*of_class.parameters(), *of_class.buffers())
        x = torch.rand(2, 3)
        devices.place(x)
        came = module.f(x, of_class)
        stray = devices.is_stray(came)
    return came, stray, tracing


@pytest.mark.parametrize("what", WRONG)
def test_what_would_fail_on_a_gpu_is_seen(what):
    try:
        _, _, tracing = traced(WRONG[what])
        found = tracing.found
    except devices.StepError as error:
        found = error
    assert found is not None and found.description["kind"].startswith("devices")


@pytest.mark.parametrize("what", RIGHT)
def test_what_runs_on_a_gpu_is_left_alone(what):
    came, stray, tracing = traced(RIGHT[what])
    assert tracing.found is None and not stray and isinstance(came, torch.Tensor)


def test_a_result_that_lies_on_the_cpu_wherever_the_input_lies_is_stray():
    for body in ("return x.cpu()", "return torch.tensor(x.tolist())", "return torch.zeros(2, 3).copy_(x)"):
        _, stray, tracing = traced(body)
        assert stray and tracing.found is None


def test_the_line_that_made_the_tensor_is_named():
    with pytest.raises(devices.StepError) as caught:
        traced("m = torch.ones(3, 3).tril()\ny = x * 2\nreturn y @ m")
    said = caught.value.description
    assert said["function"] == "matmul" and said["made_in"] == "f"
    assert said["line"] == (HEAD + "def f(x, module):\n    m").count("\n") + 1


def test_outside_of_a_trace_nothing_is_known():
    devices.place(torch.ones(1))
    assert not devices.is_stray(torch.ones(1))
