import subprocess

import pytest

from gpt_core import sample
from gpt_core.training import checkpoint
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import tiny_config, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    trained(folder)
    return folder


def call(capsys, *arguments):
    try:
        status = sample.main([str(a) for a in arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_a_run_writes_on_from_the_prompt_and_the_seed_decides(run, capsys):
    status, text, _ = call(capsys, run, "--prompt", "ANNE:", "--tokens", 40)
    assert status == 0 and text.startswith("ANNE:") and len(text) == 5 + 40 + 1
    assert call(capsys, run, "--prompt", "ANNE:", "--tokens", 40) == (0, text, "")
    assert call(capsys, run, "--prompt", "ANNE:", "--tokens", 40, "--seed", 2)[1] != text
    assert call(capsys, run, "--prompt", "ANNE:", "--tokens", 40, "--no-cache")[1] == text


def test_text_arrives_character_by_character(run, monkeypatch):
    written = []
    monkeypatch.setattr("builtins.print", lambda *a, **k: written.append((a, k)))
    sample.main([str(run), "--prompt", "A", "--tokens", "3"])
    assert len(written) == 1 + 3 + 1
    assert all(len(a[0]) == 1 and k == {"end": "", "flush": True} for a, k in written[:4])


def test_several_texts_come_in_one_batch(run, capsys):
    status, text, _ = call(capsys, run, "--prompt", "A", "--tokens", 5, "--samples", 3)
    assert status == 0 and [f"--- {i} of 3" in text for i in (1, 2, 3)] == [True] * 3


def test_a_checkpoint_can_be_named_itself(run, capsys):
    assert call(capsys, run / "last.safetensors", "--tokens", 3)[0] == 0


def test_a_model_from_before_the_first_step_is_said_to_write_noise(tmp_path, capsys):
    trained(tmp_path / "run", stop_at=1)
    status, text, said = call(capsys, tmp_path / "run", "--tokens", 3)
    assert status == 0 and len(text) == 1 + 3 + 1 and "before the first step" in " ".join(said.split())
    assert call(capsys, tmp_path / "run" / "last.safetensors", "--tokens", 3)[2] == ""


def test_the_folder_of_all_runs_is_not_taken_for_one_that_may_be_removed(run, capsys):
    said = call(capsys, run.parent)[2]
    assert (
        "is not the folder of a run; the runs in it are run." in " ".join(said.split())
        and "remove" not in said
    )


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--prompt", "ANNE€"], "character '€' at position 4 is not in the vocabulary"),
        (["--prompt", "ANNE:\\n"], "in bash a line end is written $'ANNE:\\n'"),
        (["--prompt-file", "nowhere.txt"], "nowhere.txt cannot be read: No such file or directory."),
        (["--prompt-file", "."], ". cannot be read: Is a directory."),
        (["--prompt", "A", "--prompt-file", "x"], "--prompt-file: not allowed with argument --prompt"),
        (["--stop", "END€"], "--stop cannot be written in the model's characters: character '€' at"),
        (["--stop", ";€"], "characters; take it out of --stop."),
        (["--stop", "€;"], "character '€' at position 0 is not in the vocabulary"),
        (["--stop", ""], "--stop is empty; give the text after which to stop"),
        (["--prompt", ""], "the prompt is empty"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--top-p", "0"], "top_p is 0.0"),
        (["--tokens", "-1"], "--tokens is -1"),
        (["--samples", "0"], "--samples is 0"),
        (["--tokens", "few"], "invalid int value"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(run, capsys, arguments, sentence):
    status, out, err = call(capsys, run, *arguments)
    assert status == 2 and out == "" and sentence in " ".join(err.split()) and "Traceback" not in err


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    status, _, err = call(capsys, tmp_path / "nothing")
    assert status == 2 and "there is no run" in err


def test_the_prompt_comes_from_a_file_with_the_line_ends_of_a_corpus(run, tmp_path, capsys):
    (tmp_path / "prompt.txt").write_bytes("\ufeffANNE:\r\nThe king".encode())
    status, text, _ = call(capsys, run, "--prompt-file", tmp_path / "prompt.txt", "--tokens", 5)
    assert status == 0 and text.startswith("ANNE:\nThe king") and len(text) == 14 + 5 + 1


def test_a_prompt_file_that_is_no_text_or_empty_is_refused_in_one_sentence(run, tmp_path, capsys):
    cases = {b"\xff\xfeA": "prompt.txt is not UTF-8 text (byte 0)", b"": "the prompt is empty"}
    for content, sentence in cases.items():
        (tmp_path / "prompt.txt").write_bytes(content)
        status, out, said = call(capsys, run, "--prompt-file", tmp_path / "prompt.txt")
        assert status == 2 and out == "" and sentence in " ".join(said.split())


def test_a_text_ends_with_what_it_is_to_stop_at_though_that_takes_several_tokens(run, capsys):
    whole = call(capsys, run, "--prompt", "ANNE:", "--tokens", 200)[1]
    stop = whole[60:64]
    first = whole.index(stop, 5)  # only what the model wrote counts
    stopped = call(capsys, run, "--prompt", "ANNE:", "--tokens", 200, "--stop", stop)[1]
    assert stopped == whole[: first + 4] + "\n"
    # The prompt's own end does not stop it, nor one that never comes.
    assert len(call(capsys, run, "--prompt", "ANNE:", "--tokens", 9, "--stop", "ANNE:")[1]) == 5 + 9 + 1


def test_of_several_texts_each_ends_at_its_own_stop(run, capsys):
    settings = ["--prompt", "A", "--tokens", 60, "--samples", 3]
    whole = call(capsys, run, *settings)[1].split("--- ")[1:]
    stopped = call(capsys, run, *settings, "--stop", "e")[1].split("--- ")[1:]
    for one, other in zip(whole, stopped, strict=True):
        head, text = one.split("\n", 1)
        end = text.find("e", 1)
        assert other == head + "\n" + (text[: end + 1] + "\n" if end >= 0 else text)
    assert stopped != whole


def test_the_line_end_that_is_suggested_for_bash_is_what_was_meant(run, capsys):
    said = " ".join(call(capsys, run, "--prompt", "ANNE:\\nThe")[2].split())
    written = said.partition("is written ")[2].removesuffix(".")
    typed = subprocess.run(["bash", "-c", f"printf %s {written}"], capture_output=True, text=True).stdout
    assert typed == "ANNE:\nThe" and call(capsys, run, "--prompt", typed, "--tokens", 1)[0] == 0


@pytest.fixture(scope="module")
def controls(tmp_path_factory):
    """A run of a corpus with escape characters and without a line end."""
    folder = tmp_path_factory.mktemp("runs") / "controls"
    Trainer.start(tiny_config(corpus="codes"), "\x1b[2Jred\x07\x9b" * 60, folder).run()
    return folder


def test_control_characters_reach_a_file_as_they_are_a_terminal_written_out(controls, capsys, monkeypatch):
    settings = [controls, "--tokens", 60, "--prompt", "\x1b["]
    status, as_it_is, _ = call(capsys, *settings)
    assert status == 0 and as_it_is.startswith("\x1b[")
    for samples in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
            shown = call(capsys, *settings, "--samples", samples)[1]
        assert shown.count("\\x1b[") >= samples and not set("\x1b\x07\x9b") & set(shown)


def test_without_a_line_end_a_text_begins_like_its_corpus(controls, monkeypatch):
    assert load_trained(controls).start == "\x1b"
    real = checkpoint.load

    def older(path):
        saved = real(path)
        saved.info.pop("start")
        return saved

    monkeypatch.setattr("gpt_core.training.checkpoint.load", older)
    assert load_trained(controls).start == "2"  # not known any more: the first that one can see


def test_memory_that_runs_out_is_told_by_what_it_was_for(run, capsys, monkeypatch):
    status, _, said = call(capsys, run, "--samples", 2**31 - 1, "--tokens", 2)
    assert status == 1
    assert "to write 2147483647 texts at once: fewer --samples take less." in " ".join(said.split())

    def refuse(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr("gpt_core.training.trained.build_model", refuse)
    status, _, said = call(capsys, run)
    assert status == 1 and f"memory to load the model of {run}" in " ".join(said.split())
