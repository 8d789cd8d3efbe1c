import pytest

from gpt_core import sample
from tests.gpt_core.tiny import trained


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
    assert "is not the folder of a run; the runs in it are run." in " ".join(said.split()) and "remove" not in said


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--prompt", "ANNE€"], "character '€' at position 4 is not in the vocabulary"),
        (["--prompt", "ANNE:\\n"], "in bash a line end is written $'ANNE:\\n'"),
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
