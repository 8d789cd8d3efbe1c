import functools
import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from data import corpora, toy

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def server(tmp_path):
    """A folder, the address of a loopback server that serves it, and the requests it got."""
    folder, requests = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()


def write_registry(path, address, contents):
    path.write_text(
        "".join(
            f"{name} sha256:{hashlib.sha256(data).hexdigest()} {address}/{name}\n"
            for name, data in contents.items()
        )
    )
    return path


def test_a_corpus_is_downloaded_once_and_its_progress_is_reported(server, tmp_path):
    folder, address, requests = server
    (folder / "tinyshakespeare.txt").write_bytes(b"To be" * 1000)
    registry = write_registry(tmp_path / "r.txt", address, {"tinyshakespeare.txt": b"To be" * 1000})
    seen = []
    settings = {"cache": tmp_path / "cache", "registry": registry, "report": seen.append}
    assert corpora.load("tinyshakespeare", **settings) == "To be" * 1000
    assert seen[-1] == corpora.Download("tinyshakespeare.txt", 5000, 5000)
    assert corpora.load("tinyshakespeare", **settings) == "To be" * 1000
    assert len(requests) == 1


def test_a_file_with_another_sha256_is_refused_and_not_kept(server, tmp_path):
    folder, address, _ = server
    registry = write_registry(tmp_path / "r.txt", address, {"tinyshakespeare.txt": b"right"})
    (folder / "tinyshakespeare.txt").write_bytes(b"wrong")
    with pytest.raises(corpora.CorpusUnavailable, match="another sha256"):
        corpora.load("tinyshakespeare", cache=tmp_path / "cache", registry=registry, retries=0)
    assert not (tmp_path / "cache" / "tinyshakespeare.txt").exists()


def test_a_failed_download_is_tried_again(server, tmp_path, monkeypatch):
    folder, address, requests = server
    registry = write_registry(tmp_path / "r.txt", address, {"tinyshakespeare.txt": b"late"})
    # The file appears while pooch pauses before its second try.
    monkeypatch.setattr("time.sleep", lambda s: (folder / "tinyshakespeare.txt").write_bytes(b"late"))
    assert corpora.load("tinyshakespeare", cache=tmp_path / "c", registry=registry, retries=1) == "late"
    assert len(requests) >= 2


def test_offline_the_message_names_the_file_its_address_and_the_place_for_it(tmp_path):
    address = "http://127.0.0.1:9"  # the discard port: nothing listens
    registry = write_registry(tmp_path / "r.txt", address, {"tinyshakespeare.txt": b"x"})
    with pytest.raises(corpora.CorpusUnavailable) as caught:
        corpora.load("tinyshakespeare", cache=tmp_path / "cache", registry=registry, retries=0)
    message = str(caught.value)
    assert f"{address}/tinyshakespeare.txt" in message and "no connection" in message
    assert str(tmp_path / "cache" / "tinyshakespeare.txt") in message and "GPT_DATA_DIR" in message


@pytest.mark.parametrize(
    "lay, found",
    [
        (lambda path: path.mkdir(), "tinyshakespeare.txt is a folder"),
        (
            lambda path: path.write_text("other words"),
            "tinyshakespeare.txt has another sha256 than the registry",
        ),
    ],
)
def test_what_lies_in_the_place_of_a_corpus_file_is_named(tmp_path, lay, found):
    registry = write_registry(tmp_path / "r.txt", "http://127.0.0.1:9", {"tinyshakespeare.txt": b"x"})
    lay(tmp_path / "tinyshakespeare.txt")
    with pytest.raises(corpora.CorpusUnavailable, match=f"{found} and could not be downloaded"):
        corpora.load("tinyshakespeare", cache=tmp_path, registry=registry, retries=0)


def test_the_environment_variable_names_the_cache_folder(tmp_path, monkeypatch):
    (tmp_path / "plays").mkdir()
    contents = {"plays/b.txt": b"second", "plays/a.txt": b"first\r\n", "tinyshakespeare.txt": b"x"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    registry = write_registry(tmp_path / "r.txt", "http://127.0.0.1:9", contents)
    monkeypatch.setenv("GPT_DATA_DIR", str(tmp_path))
    # Joined in the order of names, and no byte travelled: nothing listens at that address.
    assert corpora.load("plays", registry=registry) == "first\n\nsecond"


def test_novels_become_printable_ascii_without_mark_and_carriage_return(tmp_path):
    (tmp_path / "novels").mkdir()
    data = "\ufeff“Où est l’œuvre?”\r\nHe paid £5—and λόγος went\xa0on.\r\n".encode()
    (tmp_path / "novels/a.txt").write_bytes(data)
    registry = write_registry(tmp_path / "r.txt", "http://127.0.0.1:9", {"novels/a.txt": data})
    text = corpora.load("novels", cache=tmp_path, registry=registry)
    assert text == '"Ou est l\'oeuvre?"\nHe paid L5--and  went on.\n'


def test_a_file_of_ones_own_keeps_its_letters(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeffŻółw\r\nλ\r".encode())
    assert corpora.load(str(path)) == "Żółw\nλ\n"


@pytest.mark.parametrize(
    "content, sentence",
    [(b"", "holds no text"), (b" \n\n", "holds no text"), (b"ab\xff", "not UTF-8 text \\(byte 2")],
)
def test_a_file_that_cannot_be_learned_from_is_refused(tmp_path, content, sentence):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        corpora.load(str(tmp_path / "bad.txt"))


def test_an_unknown_corpus_is_refused_with_the_list_of_names():
    with pytest.raises(ValueError, match="'hamlet'; the corpora are tinyshakespeare, plays, novels, toy"):
        corpora.load("hamlet")


def test_the_split_is_by_position_and_loses_no_character():
    text = toy.generate(1001)
    train, val = corpora.split(text)
    assert len(train) == 900 and train + val == text


def test_importing_data_brings_in_neither_torch_nor_pooch():
    import subprocess
    import sys

    code = "import sys, data.corpora, data.toy; sys.exit(any(m in sys.modules for m in ('torch', 'pooch')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_every_pinned_file_has_a_sha256_and_an_address_that_names_a_commit():
    lines = [line.split() for line in corpora.REGISTRY.read_text().splitlines()]
    assert len(lines) == 143
    assert sum(name.startswith("novels/") for name, _, _ in lines) == 100
    for _, digest, url in lines:
        assert len(digest.removeprefix("sha256:")) == 64
        assert any(len(part) == 40 for part in url.split("/")), url


def test_the_pinned_corpora_load_with_their_published_sizes():
    cache = Path(os.environ.get("GPT_DATA_DIR") or SHARED)
    if not (cache / "tinyshakespeare.txt").exists():
        pytest.skip("the corpora are not on this machine; set GPT_DATA_DIR to a folder that has them")
    text = corpora.load("tinyshakespeare", cache=cache)
    assert (len(text), len(set(text))) == (1_115_394, 65)
    assert len(corpora.load("plays", cache=cache)) == 5_283_836


def test_the_toy_corpus_is_the_same_text_everywhere():
    text = toy.generate()
    assert len(text) == 60_000
    assert hashlib.sha256(text.encode()).hexdigest() == TOY_SHA256
    assert toy.generate(seed=2) != text and toy.generate(100) == text[:100]


TOY_SHA256 = "22f20116072fedf467d853cfd6106e2aabebc49ea382e0f2eb00d4f7810280b9"
