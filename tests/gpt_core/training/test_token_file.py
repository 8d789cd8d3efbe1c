import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data import corpora, toy
from gpt_core import train
from gpt_core.batches import encode_text
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training import token_file
from gpt_core.training.checkpoint import NoSpace
from gpt_core.training.token_file import open_tokens
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import assert_same_run, tiny_config

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "written",
    [
        b"a\r\nb\rc\nd\r\n\r\n",
        "\ufeffWörter, \u4e00 \U0001f600".encode(),
        b"\xef\xbb\xbf\r\n" + b"ab\r\n" * 999,
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 1000])
def test_the_tokens_are_those_of_the_text_in_memory_wherever_a_piece_ends(
    tmp_path, monkeypatch, written, piece
):
    monkeypatch.setattr(token_file, "PIECE", piece)
    (tmp_path / "text.txt").write_bytes(written)
    text = corpora.load(str(tmp_path / "text.txt"))
    found = open_tokens(tmp_path / "text.txt", folder=tmp_path / "tokens")
    tokenizer = CharTokenizer.from_text(text)
    assert found.tokenizer.chars == tokenizer.chars
    assert torch.equal(found.tokens.tensor(), encode_text(tokenizer, text))
    assert found.sha256 == corpora.sha256(text) and len(found) == len(text)


def test_a_text_is_encoded_once_and_again_where_it_or_its_tokens_have_changed(tmp_path):
    text, folder, done = tmp_path / "text.txt", tmp_path / "tokens", []
    text.write_text("abc " * 100)
    for change, encodes in (
        (lambda: None, True),
        (lambda: None, False),
        (lambda: text.write_text("abd " * 100), True),
        (lambda: os.truncate(next(folder.glob("*.bin")), 7), True),
        (lambda: next(folder.glob("*.json")).write_text("{"), True),
        (lambda: None, False),
    ):
        change()
        done.clear()
        found = open_tokens(text, folder=folder, report=done.append)
        assert bool(done) == encodes
        assert found.tokenizer.decode(found.tokens) == text.read_text()
    assert sorted(path.suffix for path in folder.iterdir()) == [".bin", ".json"]


def test_the_progress_goes_to_the_end_of_the_second_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "PIECE", 100)
    (tmp_path / "text.txt").write_text("to be " * 1000)
    seen = []
    open_tokens(tmp_path / "text.txt", folder=tmp_path, report=seen.append)
    done = [event.done for event in seen]
    assert done == sorted(done) and done[-1] == seen[-1].total == 12_000


def test_what_cannot_be_encoded_is_one_sentence(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"caf\xe9 " * 10)
    with pytest.raises(ValueError, match="text.txt is not UTF-8 text; save it as UTF-8"):
        open_tokens(text, folder=tmp_path / "tokens")
    text.write_text(" \n " * 10)
    with pytest.raises(ValueError, match="text.txt holds no text"):
        open_tokens(text, folder=tmp_path / "tokens")
    text.write_text("text")
    (tmp_path / "a file").touch()
    with pytest.raises(NoSpace, match="could not be written .* let GPT_DATA_DIR name a folder"):
        open_tokens(text, folder=tmp_path / "a file")


def test_a_run_on_a_token_file_is_bit_for_bit_the_run_on_the_text_and_is_resumed(tmp_path, monkeypatch):
    text = toy.generate(3000)
    (tmp_path / "text.txt").write_text(text)
    config = tiny_config(corpus=str(tmp_path / "text.txt"))
    tokens = open_tokens(tmp_path / "text.txt", folder=tmp_path / "tokens")
    Trainer.start(config, text, tmp_path / "whole").run()
    trainer = Trainer.start(config, tokens, tmp_path / "in file")
    trainer.run(should_stop=lambda: trainer.step == 7)
    assert Trainer.resume(tmp_path / "in file", tokens).run().finished
    assert_same_run(tmp_path / "whole", tmp_path / "in file")


def test_a_large_file_is_trained_on_from_its_tokens_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(token_file, "LARGE", 10_000)
    monkeypatch.setenv(corpora.CACHE_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "text.txt").write_text(toy.generate(20_000))
    values = ["toy", "--steps", "2", "--eval-iters", "1", "--device", "cpu", "--threads", "1"]
    corpus, run = ["--corpus", str(tmp_path / "text.txt")], ["--out", str(tmp_path / "run")]
    assert train.main([*values, *corpus, *run]) == 0
    assert len(list((tmp_path / "data" / "tokens").glob("text-*.bin"))) == 1
    capsys.readouterr()
    assert train.main(["--resume", str(tmp_path / "run"), "--extend", "3"]) == 0


LIMITED = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gpt_core.training import token_file
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import tiny_config
text, out = Path(sys.argv[1]), Path(sys.argv[2])
config = tiny_config(corpus=str(text), val_chars=2000, windows=sys.argv[3], block_size=64)
kept = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, ((kept << 10) + (96 << 20),) * 2)
if sys.argv[4] == "in file":
    tokens = token_file.open_tokens(text, folder=out / "tokens")
else:
    from data import corpora
    tokens = corpora.load(str(text))
print(len(tokens), Trainer.start(config, tokens, out / "run").run().finished)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit on a process' memory takes Linux")
@pytest.mark.parametrize(
    ("how", "windows"), [("in file", "random"), ("in file", "epochs"), ("in memory", "random")]
)
def test_a_text_larger_than_the_memory_that_is_left_trains_from_its_tokens_alone(tmp_path, how, windows):
    with open(tmp_path / "text.txt", "w") as file:
        for _ in range(200):
            file.write("To be, or not to be, that is the question.\n" * 20_000)  # 172 MB in all
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "text.txt"), str(tmp_path), windows, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if how == "in file":
        assert done.stdout.split() == ["172000000", "True"], done.stderr
    else:
        assert done.returncode != 0 and "Error" in done.stderr
