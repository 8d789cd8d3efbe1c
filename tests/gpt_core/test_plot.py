import builtins
import importlib.util
import json

import pytest

from gpt_core import plot
from gpt_core.training.run_log import read
from gpt_core.training.terminal import sparkline


def write_log(folder, rows, end=""):
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + end)
    return folder


ROWS = [
    {"kind": "eval", "step": 0, "val_loss": 4.2},
    {"kind": "train", "step": 10, "loss": 3.0},
    {"kind": "train", "step": 20, "loss": 2.5},
    {"kind": "eval", "step": 20, "val_loss": 2.6},
]


def test_without_matplotlib_one_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    run = write_log(tmp_path / "run", ROWS)
    real = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    assert plot.main([str(run), "--out", str(tmp_path / "x.png")]) == 1
    assert 'pip install -e ".[plot]"' in capsys.readouterr().err


def test_the_curves_of_two_runs_become_one_png(tmp_path, monkeypatch):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib, an optional extra, is not installed")
    from matplotlib.axes import Axes

    drawn = []
    real = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, y, **k: (drawn.append((x, y, k["label"])), real(self, x, y, **k))[1]
    )
    one, two = write_log(tmp_path / "one", ROWS), write_log(tmp_path / "two", ROWS)
    assert plot.main([str(one), str(two), "--out", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert drawn[:2] == [
        ((10, 20), (3.0, 2.5), "one, training"),
        ((0, 20), (4.2, 2.6), "one, validation (lowest 2.6000)"),
    ]
    assert len(drawn) == 4


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (None, "has no log.jsonl"),
        ([], "is empty"),
        ([3, *ROWS], "line 1 of"),
        ([{"kind": "train", "step": 1}, *ROWS], "line 1 of"),
        ([*ROWS, {"kind": "eval", "step": 1, "val_loss": None}, *ROWS], "line 5 of"),
    ],
)
def test_a_folder_without_a_readable_log_is_refused(tmp_path, capsys, rows, sentence):
    run = tmp_path / "run"
    if rows is None:
        run.mkdir()
    else:
        write_log(run, rows)
    assert plot.main([str(run), "--out", str(tmp_path / "x.png")]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "x.png").exists()


def test_a_run_that_does_not_exist_and_a_plot_that_is_no_png_are_said_to_be_so(tmp_path, capsys):
    assert plot.main([str(tmp_path / "none")]) == 2 and "there is no run" in capsys.readouterr().err
    run = write_log(tmp_path / "run", ROWS)
    assert (
        plot.main([str(run), "--out", str(tmp_path / "x.txt")]) == 2
        and "must end in .png" in capsys.readouterr().err
    )


def test_a_run_with_dollars_in_its_name_is_drawn(tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib, an optional extra, is not installed")
    run = write_log(tmp_path / "a$x_{$b", ROWS)
    assert plot.main([str(run), "--out", str(tmp_path / "x.png")]) == 0


def test_a_last_line_that_a_kill_cut_off_is_left_out_of_the_log(tmp_path):
    run = write_log(tmp_path / "run", ROWS, end='{"kind": "tra')
    assert read(run) == ROWS


def test_a_sparkline_has_one_bar_per_value_and_averages_what_does_not_fit():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, 2.0]) == "▁▁" and sparkline([]) == ""
    long = sparkline([float(i) for i in range(1000)], width=60)
    assert len(long) == 60 and long[0] == "▁" and long[-1] == "█" and sorted(long) == list(long)
