"""One grade against files that hang, crash, lie and cheat: always a clear verdict, always "failed", the
remaining checks still run, and nothing is left behind.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from grader.cli import main
from grader.judge.grade import Source, grade, read_source
from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION, at_import, in_forward, in_init, returning

CHECKS = EXERCISES["ex1"].checks

CASES = {
    # name: (source, a check that must fail, words that its message must have)
    "a syntax error": (SOLUTION + "\ndef (:\n", "runs", "SyntaxError"),
    "an import that fails": (
        "import no_such_module_anywhere\n" + SOLUTION,
        "runs",
        "no_such_module_anywhere",
    ),
    "a missing class": ("def fuse_heads(baseline): ...\n", "runs", "does not define FusedMultiHeadAttention"),
    "an empty file": ("", "runs", "empty"),
    "a file of NUL bytes": (b"\0" * 100, "runs", "null bytes"),
    "a source that is not UTF-8": (
        b"# caf\xe9\nx = '\xff'\n" + SOLUTION.encode(),
        "runs",
        "line 1 has the byte 0xE9",
    ),
    "a wrong signature of the class": (
        SOLUTION.replace("(self, config)", "(self)"),
        "parameters",
        "TypeError",
    ),
    "a wrong signature of forward": (
        SOLUTION.replace("def forward(self, x: torch.Tensor)", "def forward(self, x, mask)"),
        "output",
        "mask",
    ),
    "a class that is no module": (
        "class FusedMultiHeadAttention:\n    def __init__(self, config): ...\ndef fuse_heads(b): ...\n",
        "parameters",
        "nn.Module",
    ),
    "forward returns None": (returning("None"), "output", "it is None"),
    "forward returns a list": (returning("[y]"), "output", "a list of 1"),
    "forward returns a wrong shape": (returning("y[:, :-1]"), "output", "its shape is (2, 5, 32)"),
    "forward returns NaN": (returning("y * float('nan')"), "output", "NaN"),
    "forward returns a complex tensor": (returning("y.to(torch.complex64)"), "output", "complex64"),
    "forward returns a sparse tensor": (returning("y.detach().to_sparse()"), "output", "sparse"),
    "forward returns a meta tensor": (returning("y.to('meta')"), "output", "meta"),
    "forward returns a tensor subclass": (
        returning("y.as_subclass(type('Liar', (torch.Tensor,), {}))"),
        "output",
        "subclass of torch.Tensor, Liar",
    ),
    "forward raises": (in_forward("raise ValueError('no such luck')"), "output", "ValueError: no such luck"),
    "forward raises what raises in __str__": (
        in_forward("class Bad(Exception):\n    def __str__(self):\n        raise KeyError\nraise Bad()"),
        "output",
        "__str__",
    ),
    "forward exits": (in_forward("raise SystemExit(0)"), "output", "SystemExit"),
    "import exits": (at_import("import sys; sys.exit(0)"), "runs", "SystemExit"),
    "import ends the process with status 0": (at_import("import os; os._exit(0)"), "runs", "exit status 0"),
    "forward ends the process with status 0": (
        in_forward("import os; os._exit(0)"),
        "output",
        "exit status 0",
    ),
    "forward aborts": (in_forward("import os; os.abort()"), "output", "crashed"),
    "forward recurses for ever": (in_forward("return self.forward(x)"), "output", "RecursionError"),
    "an endless loop at import": (at_import("while True: pass"), "runs", "stopped"),
    "an endless loop in __init__": (in_init("while True: pass"), "parameters", "stopped"),
    "an endless loop in forward": (in_forward("while True: pass"), "output", "stopped"),
    "C code that hangs and ignores SIGTERM": (
        in_forward("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)"),
        "output",
        "stopped",
    ),
    "an allocation of 20 GB": (
        in_forward("waste = torch.ones(20 * 2**30, dtype=torch.uint8)"),
        "output",
        "memory",
    ),
    "200 MB of output and then a wrong answer": (
        at_import(
            "for _ in range(200): print('x' * 2**20)\nFusedMultiHeadAttention.forward = lambda self, x: x"
        ),
        "one_token",
        "value",
    ),
    "patches of torch, numpy and pytest": (
        at_import(
            "import numpy, pytest\n"
            "torch.allclose = torch.equal = lambda *a, **k: True\n"
            "numpy.allclose = numpy.array_equal = lambda *a, **k: True\n"
            "pytest.fail = lambda *a, **k: None\n"
            "FusedMultiHeadAttention.forward = lambda self, x: x"
        ),
        "one_token",
        "value",
    ),
    "answers that were written by hand": (
        in_forward(
            "import os\nfor fd in range(3, 300):\n    try: os.write(fd, b'GPTW' + bytes(100))\n    except "
            "OSError: pass"
        ),
        "output",
        "",
    ),
    "a forked child that stays": (
        in_forward("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\nos._exit(0)"),
        "output",
        "exit status 0",
    ),
    "a made-up stack with a line of 5000 digits": (
        at_import(
            "import os\nos.write(2, b'Timeout (\\n  File \"' + __file__.encode() + b'\", line ' + b'9' * "
            "5000 + b' in x\\n')\nos._exit(0)"
        ),
        "runs",
        "exit status 0",
    ),
    "answers of other kinds than were asked for": (
        at_import(
            "import grader.worker.tools\ngrader.worker.tools.parameters = lambda module: {'qkv.weight': "
            "'abc', 'x': 5}"
        ),
        "parameters",
        "make no sense",
    ),
    "errors of other kinds than were asked for": (
        at_import(
            "import grader.worker.main\ngrader.worker.main.describe_error = lambda *a: {'kind': 'raised', "
            "'line': float('inf')}\nraise ValueError"
        ),
        "runs",
        "",
    ),
    "grad mode left off": (in_forward("torch.set_grad_enabled(False)"), "output", "grad mode"),
    "a folder deeper than Python can walk": (
        at_import(
            "import os\nfor _ in range(3000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\nraise "
            "ValueError('deep')"
        ),
        "runs",
        "deep",
    ),
    "an import of the solution": (
        "from solutions.ex1_fused_attention import *\n",
        "runs",
        "reached for the solution",
    ),
    "an import of the solution, hidden by a guard": (
        SOLUTION.replace(
            "import torch\n",
            "import torch\ntry:\n    import solutions.ex1_fused_attention\nexcept ImportError:\n    pass\n",
            1,
        ),
        "runs",
        "reached for the solution",
    ),
    "an opening of the solution": (
        "from pathlib import Path\nimport gpt_core\n"
        "exec((Path(gpt_core.__file__).parents[1] / 'solutions' / 'ex1_fused_attention.py').read_text())\n",
        "runs",
        "reached for the solution",
    ),
}

UNIX_ONLY = ("a forked child that stays",)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_fails_with_a_clear_verdict(graded, leftovers, name):
    if sys.platform == "win32" and name in UNIX_ONLY:
        pytest.skip("Windows cannot fork")
    source, failing, words = CASES[name]
    before = leftovers()
    verdict = graded(source)
    by_id = {check.id: check for check in verdict.checks}
    assert not verdict.passed
    assert list(by_id) == list(CHECKS)
    assert by_id[failing].status == "failed", {check.id: check.status for check in verdict.checks}
    assert words in by_id[failing].message
    assert all(check.message for check in verdict.checks if check.status != "passed")
    json.dumps(verdict.as_json())
    after = leftovers()
    # The session's own zygote and reference stay, once started; whatever the attempt brought is gone.
    assert len(after[0] - before[0]) <= 2
    assert len(after[1] - before[1]) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forward aborts", "forward exits", "an endless loop in forward"])
def test_the_checks_that_do_not_depend_on_a_crash_still_run(graded, name):
    verdict = graded(CASES[name][0])
    status = {check.id: check.status for check in verdict.checks}
    assert status["parameters"] == status["trainable"] == "passed"


@pytest.mark.slow
def test_a_crash_with_one_kind_of_input_fails_the_checks_of_that_kind_only(graded):
    verdict = graded(in_forward("if not x.is_contiguous(): import os; os.abort()"))
    assert [check.id for check in verdict.checks if check.status == "failed"] == ["layouts", "input_kept"]
    assert {check.status for check in verdict.checks if check.id not in ("layouts", "input_kept")} == {
        "passed"
    }


@pytest.mark.slow
def test_a_stuck_attempt_is_told_its_line(graded):
    verdict = graded(in_forward("while True: pass"))
    (output,) = [check for check in verdict.checks if check.id == "output"]
    line = in_forward("while True: pass").splitlines().index("        while True: pass") + 1
    assert output.details == [f"line {line}, in forward"]


def test_a_traceback_shows_the_learners_own_lines_only(graded):
    verdict = graded(in_forward("self.qkv(x[..., :-1])"))
    (output,) = [check for check in verdict.checks if check.id == "output"]
    assert len(output.details) == 1
    assert "in forward: self.qkv(x[..., :-1])" in output.details[0]


def test_escapes_and_markup_from_an_attempt_reach_nobody(graded):
    evil = "\\x1b[2J\\x1b]0;owned\\x07[bold red]\\u202egnp.exe"
    verdict = graded(in_forward(f"raise type('E{evil}', (Exception,), {{}})('{evil}')"))
    text = json.dumps(verdict.as_json(), ensure_ascii=False)
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text


@pytest.mark.slow
def test_a_slow_noisy_import_does_not_fail_a_right_attempt(graded):
    verdict = graded(
        at_import("import time, warnings\nprint('hello')\nwarnings.warn('careful')\ntime.sleep(1.5)")
    )
    assert verdict.passed


def test_global_state_that_a_right_attempt_changes_is_put_back(graded):
    verdict = graded(
        at_import(
            "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\n"
            "torch.set_default_device('meta')\ntorch.manual_seed(5)\ntorch.set_num_threads(2)\n"
            "torch.overrides.TorchFunctionMode().__enter__()"
        )
    )
    assert verdict.passed, [(check.id, check.message) for check in verdict.checks if check.status == "failed"]


def test_an_attempt_cannot_write_outside_its_scratch_folder(graded, tmp_path):
    target = tmp_path / "written"
    graded(at_import(f"open({str(target)!r}, 'w').write('x')"))
    assert not target.exists() or sys.platform != "linux"


@pytest.mark.slow
def test_a_file_written_in_the_working_directory_is_gone_afterwards(graded, leftovers):
    before = leftovers()[0]
    verdict = graded(
        at_import("open('left_behind', 'w').write('x')\nimport os; os.makedirs('a/b'); os.chmod('a', 0)")
    )
    assert verdict.passed
    assert not Path("left_behind").exists()
    assert len(leftovers()[0] - before) <= 1  # the reference's, while the session lives


def test_cleaning_up_changes_nothing_that_a_link_points_to(graded, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("x")
    victim.chmod(0o640)
    assert graded(
        at_import(f"import os\nos.mkdir('d')\nos.symlink({str(victim)!r}, 'd/link')\nos.chmod('d', 0o500)")
    ).passed
    assert victim.stat().st_mode & 0o777 == 0o640


@pytest.mark.slow
def test_an_attempt_cannot_write_to_a_terminal(graded):
    if sys.platform != "linux":
        pytest.skip("only Linux can refuse it")
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    verdict = graded(
        at_import(
            f"import os\ntry:\n    os.write(os.open({name!r}, os.O_RDWR | os.O_NOCTTY), b'all passed')\n"
            f"except OSError: pass"
        )
    )
    assert verdict.passed
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 100)
    os.close(ours)
    os.close(theirs)


def test_an_empty_folder_is_a_failed_attempt_and_not_a_crash(session, tmp_path):
    verdict = grade(session, "ex1", read_source(tmp_path), device="cpu")
    assert not verdict.passed
    assert "it is a folder" in verdict.checks[0].message


def test_an_enormous_file_is_a_failed_attempt(session):
    verdict = grade(
        session, "ex1", Source(Path("big.py"), b"#" * 10, problem="it is larger than"), device="cpu"
    )
    assert not verdict.passed


@pytest.mark.slow
def test_the_attempt_is_named_as_a_module_and_read_by_pythons_rules(graded):
    source = "\ufeff# -*- coding: utf-8 -*-\r\n" + SOLUTION.replace("\n", "\r\n") + "\r\nname = 'é'\r\n"
    source += "import inspect, sys\r\nassert sys.modules[__name__].name == 'é'\r\n"
    source += "assert 'nn.Linear' in inspect.getsource(FusedMultiHeadAttention)\r\n"
    verdict = graded(source.encode("utf-8"))
    assert verdict.passed, verdict.checks[0].message
    latin = b"# -*- coding: latin-1 -*-\nassert len('\xe9') == 1\n" + SOLUTION.encode("ascii")
    assert graded(latin).passed


@pytest.mark.slow
def test_killing_the_parent_neither_passes_nor_hangs(graded):
    began = time.monotonic()
    verdict = graded(
        in_forward(
            "import os, signal\ntry:\n    os.kill(os.getppid(), signal.SIGKILL)\nexcept OSError: pass\n"
            "return x"
        )
    )
    assert not verdict.passed
    assert time.monotonic() - began < 60
    assert graded(SOLUTION).passed


@pytest.mark.slow
def test_the_same_seed_gives_the_same_verdict(graded):
    wrong = SOLUTION.replace("-0.5", "-0.4")
    first, second = (graded(wrong, seed=7).as_json() for _ in range(2))
    for verdict in (first, second):
        verdict.pop("seconds")
        for check in verdict["checks"]:
            check.pop("seconds")
    assert first == second


@pytest.mark.slow
def test_the_command_line_writes_json_for_a_file_that_kills_itself(tmp_path, capsys):
    attempt, out, junit = tmp_path / "a.py", tmp_path / "verdict.json", tmp_path / "junit.xml"
    attempt.write_text("import os\nos._exit(0)\n")
    assert (
        main(["ex1", "--attempt", str(attempt), "--json", str(out), "--junit", str(junit), "--device", "cpu"])
        == 1
    )
    verdict = json.loads(out.read_text())
    assert verdict["schema"] == 1 and verdict["passed"] is False and verdict["complete"] is True
    assert verdict["attempt"]["path"].endswith("a.py") and len(verdict["attempt"]["sha256"]) == 64
    assert [check["id"] for check in verdict["checks"]] == list(CHECKS)
    assert "<failure" in junit.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"a.py", "verdict.json", "junit.xml"}
    assert "exit status 0" in capsys.readouterr().out


def test_attention_masks_exactly_on_every_backend_that_a_worker_leaves_on(graded):
    # cuDNN's masks with a finite number where the mask is boolean: with large scores right code looks wrong.
    verdict = graded(in_forward("assert not torch.backends.cuda.cudnn_sdp_enabled()"))
    assert verdict.passed, verdict.checks[0].message
