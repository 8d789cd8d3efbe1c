import builtins
import importlib.util
import json
import sys

import pytest

from gpt_core import plot
from gpt_core.pictures.curves import AXES, curves, each_run
from gpt_core.pictures.curves_page import thinned, ticks
from gpt_core.training.run_log import read
from gpt_core.training.terminal import sparkline
from tests.gpt_core.pictures.html import Page, assert_asks_for_nothing
from tests.gpt_core.tiny import trained


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


def lines_of(monkeypatch) -> list[dict]:
    """What matplotlib is given to draw."""
    pytest.importorskip("matplotlib", reason="matplotlib, an optional extra, is not installed")
    from matplotlib.axes import Axes

    drawn = []
    real = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, y, **k: (drawn.append({"x": x, "y": y, **k}), real(self, x, y, **k))[1]
    )
    return drawn


def test_the_curves_of_two_runs_become_one_png(tmp_path, monkeypatch):
    drawn = lines_of(monkeypatch)
    one, two = write_log(tmp_path / "one", ROWS), write_log(tmp_path / "two", ROWS)
    assert plot.main([str(one), str(two), "--out", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    train, val, best = drawn[:3]
    assert (train["x"], train["y"]) == ((10, 20), (3.0, 2.5))
    assert (val["x"], val["y"], val["label"]) == ((0, 20), (4.2, 2.6), "one, lowest 2.6000 at step 20")
    assert (best["x"], best["y"], best["fillstyle"]) == (20, 2.6, "none")
    assert len(drawn) == 6 and drawn[4]["color"] != val["color"]
    assert sum(line.get("label") is not None for line in drawn) == 2  # one entry for each run


def test_the_arms_of_a_comparison_have_one_colour_solid_and_dashed(tmp_path, monkeypatch):
    drawn = lines_of(monkeypatch)
    runs = [str(write_log(tmp_path / name, ROWS)) for name in ("a", "b", "c")]
    assert plot.main(["--compare", *runs[:2], "--compare", runs[2], "--out", str(tmp_path / "x.png")]) == 0
    one, other, third = (line for line in drawn if line.get("marker") == "o" and line.get("label"))
    assert one["color"] == other["color"] != third["color"]
    assert not one["linestyle"][1] and other["linestyle"][1] and not third["linestyle"][1]


def seeds(folder, *losses):
    folder.mkdir()
    for seed, of_seed in enumerate(losses, 1):
        rows = [{"kind": "eval", "step": 5 * n, "val_loss": loss} for n, loss in enumerate(of_seed)]
        write_log(folder / f"seed{seed}", rows)
    return folder


def test_the_seeds_of_an_arm_are_one_curve_with_a_band_as_far_as_all_of_them_have_come(tmp_path):
    (curve,) = curves([[seeds(tmp_path / "arm", (4, 3, 2), (4, 2))]])
    assert curve.val == [(0, 4.0), (5, 2.5)] and curve.band == [(4, 4), (2, 3)]
    assert curve.label == "arm, mean of 2 seeds, lowest 2.5000 at step 5"


def test_a_folder_of_other_runs_stands_for_each_of_them(tmp_path):
    for name in ("run10", "run9"):
        write_log(tmp_path / name, ROWS)
    seeds(tmp_path / "arm", (1, 2), (3, 4))
    assert [path.name for path in each_run(tmp_path)] == ["run9", "run10"]
    assert each_run(tmp_path / "arm") == [tmp_path / "arm"]
    assert each_run(tmp_path / "run9") == [tmp_path / "run9"]


def test_the_axis_counts_tokens_or_seconds(tmp_path):
    trained(tmp_path / "run")
    by_step, by_token, by_second = (curves([[tmp_path / "run"]], x)[0].val for x in AXES)
    tokens = 4 * 2 * 8  # batch_size * accumulation * block_size
    assert by_token == [(step * tokens, loss) for step, loss in by_step] and by_step[-1][0] == 12
    times = [seconds for seconds, _ in by_second]
    assert times == sorted(times) and times[-1] < 60


@pytest.mark.parametrize("x, sentence", [("seconds", "has no seconds"), ("tokens", "has no checkpoint")])
def test_a_log_that_has_no_seconds_or_tokens_is_said_to_have_none(tmp_path, capsys, x, sentence):
    run = write_log(tmp_path / "run", ROWS)
    assert plot.main([str(run), "--x", x, "--html", str(tmp_path / "x.html")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert sentence in said and "draw it over --x steps." in said


def page_of(tmp_path, *arguments) -> Page:
    out = tmp_path / "x.html"
    assert plot.main([*map(str, arguments), "--html", str(out)]) == 0
    return Page(out.read_text(encoding="utf-8"))


def test_the_page_needs_no_matplotlib_asks_for_nothing_and_says_the_losses_in_numbers(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = page_of(tmp_path, write_log(tmp_path / "a<b>&c", ROWS))
    assert_asks_for_nothing(page)
    assert "a<b>&c 2.6000 20 2.6000 2.5000" in page.text and not page.all("b")
    (picture,) = (svg for svg in page.all("svg") if svg.get("role") == "img")
    assert picture["aria-label"] == "Losses: a<b>&c, lowest 2.6000 at step 20"
    assert not (tmp_path / "losses.png").exists()


def test_a_page_is_written_where_out_names_one(tmp_path, capsys):
    run = write_log(tmp_path / "run", ROWS)
    for options in ([], ["--html"]):
        assert plot.main([str(run), *options, "--out", str(tmp_path / "x.html")]) == 0
        assert capsys.readouterr().out.strip() == f"drew 1 curve to {tmp_path / 'x.html'}"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.html"]


def test_on_the_page_higher_is_a_higher_loss_and_further_right_a_later_step(tmp_path):
    page = page_of(tmp_path, write_log(tmp_path / "run", ROWS))
    first, last = ((float(c["cx"]), float(c["cy"])) for c in page.all("circle") if c["r"] == "2.6")
    assert first[0] < last[0] and first[1] < last[1]  # y grows downwards
    (ring,) = (c for c in page.all("circle") if c["class"].startswith("best"))
    assert (float(ring["cx"]), float(ring["cy"])) == last


def test_a_band_and_the_dashes_are_on_the_page_too(tmp_path):
    arms = [seeds(tmp_path / name, (4, 3), (3, 2)) for name in ("a", "b")]
    page = page_of(tmp_path, "--compare", *arms)
    assert len(page.all("polygon")) == 2
    lines = page.all("polyline")
    assert [line["class"] for line in lines] == ["line s0"] * 2
    assert "stroke-dasharray" not in lines[0] and lines[1]["stroke-dasharray"]


def test_a_loss_that_is_no_number_leaves_a_gap_and_a_log_of_one_row_is_drawn(tmp_path):
    rows = [*ROWS, {"kind": "train", "step": 30, "loss": float("nan")}]
    assert "nan" not in page_of(tmp_path, write_log(tmp_path / "run", rows)).content.partition("<table")[0]
    page = page_of(tmp_path, write_log(tmp_path / "one", ROWS[:1]))
    assert len(page.all("circle")) == 2


def test_a_long_log_makes_no_long_page(tmp_path):
    rows = [{"kind": "train", "step": n, "loss": 5 - n / 1e5} for n in range(20_000)]
    page = page_of(tmp_path, write_log(tmp_path / "run", rows))
    assert len(page.content) < 30_000
    points = thinned([(n, 2.0 * n) for n in range(20_000)])
    assert len(points) == 800 and points[0] == (12, 24.0) and points[-1] == (19_987, 39_974.0)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 5000, [0, 1000, 2000, 3000, 4000, 5000]),
        (1.74, 4.3, [2, 2.5, 3, 3.5, 4]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_the_numbers_at_an_axis_are_round(low, high, expected):
    assert ticks(low, high, 7) == expected


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
    assert plot.main([]) == 2 and "there is nothing to draw" in capsys.readouterr().err
    assert plot.main([str(tmp_path / "none")]) == 2 and "there is no run" in capsys.readouterr().err
    run = write_log(tmp_path / "run", ROWS)
    assert (
        plot.main([str(run), "--out", str(tmp_path / "x.txt")]) == 2
        and "must end in .png" in capsys.readouterr().err
    )
    assert plot.main([str(run), "--html", str(tmp_path / "x.txt")]) == 2
    assert "must end in .html" in " ".join(capsys.readouterr().err.split())
    assert plot.main([str(run), "--live", "0"]) == 2 and "--live is 0" in capsys.readouterr().err


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
