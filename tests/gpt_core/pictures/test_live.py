import os
import time

import pytest

from gpt_core import plot
from gpt_core.pictures import live
from gpt_core.training.trainer import Trainer
from tests.gpt_core.pictures.html import Page, assert_asks_for_nothing
from tests.gpt_core.tiny import TEXT, trained


@pytest.fixture
def asleep(monkeypatch):
    """asleep(action, ..): what happens while the page waits, one action for each time; more is a failure."""

    def happens(*actions):
        left = list(actions)
        monkeypatch.setattr(live.time, "sleep", lambda seconds: left.pop(0)())
        return left

    return happens


def page(folder) -> Page:
    return Page((folder / "live.html").read_text(encoding="utf-8"))


def reloads(page: Page) -> list[str]:
    return [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "refresh"]


def follow(folder, *options) -> int:
    return plot.main([str(folder / "run"), "--live", *options, "--html", str(folder / "live.html")])


def test_the_page_follows_a_run_from_before_its_first_line_to_its_last_step(tmp_path, asleep, capsys):
    seen = []

    def begins():
        seen.append(page(tmp_path))
        trained(tmp_path / "run", stop_at=6)

    def goes_on():
        seen.append(page(tmp_path))
        Trainer.resume(tmp_path / "run", TEXT).run()

    left = asleep(begins, goes_on)
    assert follow(tmp_path, "2") == 0 and not left
    assert [reloads(one) for one in seen] == [["2"], ["2"]] and not reloads(page(tmp_path))
    assert "no line in its log yet" in seen[0].text and "step 6 of 12" in seen[1].text
    assert "step 12 of 12" in page(tmp_path).text and "the last step is made" in page(tmp_path).text
    for one in (*seen, page(tmp_path)):
        assert_asks_for_nothing(one)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["live.html"]
    assert "the last step is made" in capsys.readouterr().err


def test_ctrl_c_ends_the_following_with_a_page_that_no_longer_reloads(tmp_path, asleep, capsys):
    trained(tmp_path / "run", stop_at=6)

    def interrupt():
        raise KeyboardInterrupt

    asleep(interrupt)
    assert follow(tmp_path) == 130
    assert not reloads(page(tmp_path)) and "stopped by Ctrl-C" in page(tmp_path).text
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_that_writes_nothing_any_more_is_left_after_a_while(tmp_path, asleep, monkeypatch):
    trained(tmp_path / "run", stop_at=6)
    log = tmp_path / "run" / "log.jsonl"
    clock = [time.time()]
    monkeypatch.setattr(live.time, "time", lambda: clock[0])

    def nothing():
        clock[0] += live.PATIENCE - 20

    def a_line():
        nothing()
        os.utime(log, (clock[0], clock[0]))

    left = asleep(nothing, a_line, nothing, nothing)
    assert follow(tmp_path) == 0 and not left
    assert "seems to have stopped" in page(tmp_path).text and not reloads(page(tmp_path))
    log.unlink()  # neither is one that never begins waited for without end
    left = asleep(nothing, nothing)
    assert follow(tmp_path) == 0 and not left


def test_a_finished_run_is_drawn_at_once(tmp_path, asleep):
    trained(tmp_path / "run")
    asleep()
    assert follow(tmp_path) == 0 and not reloads(page(tmp_path))


def test_over_tokens_a_run_is_waited_for_until_its_first_checkpoint(tmp_path, asleep):
    seen = []

    def logs():
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.jsonl").write_text('{"kind": "eval", "step": 0, "val_loss": 4.2}\n')

    def trains():
        seen.append(page(tmp_path))
        (tmp_path / "run" / "log.jsonl").unlink()
        (tmp_path / "run").rmdir()
        trained(tmp_path / "run")

    asleep(logs, trains)
    assert follow(tmp_path, "--x", "tokens") == 0
    assert not seen[0].all("circle") and page(tmp_path).all("circle")
