"""What a folder of hand-ins holds: every thing in it has a row, and nothing special is opened."""

import io
import os
import socket
import stat
import zipfile

import pytest

from grader.classroom.entries import Entry, list_entries, read_entry, student_of, visible
from grader.workbook import UsageError
from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION

EX1 = EXERCISES["ex1"]


def read(folder, name):
    return read_entry(folder, name, EX1)


def packed(members: dict, links=()) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, text)
    return data.getvalue()


@pytest.mark.parametrize(
    "name, student",
    [
        ("ada.py", "ada"),
        ("ada_ex1.py", "ada"),
        ("Ada Lovelace_12_assignsubmission_file", "Ada"),
        ("jörg.zip", "jörg"),
        ("[bob](x).py", "[bob](x)"),
        (".hidden", ".hidden"),
        ("a\nb.py", "a"),
        ("\x1b[31m.py", "\\x1b[31m"),
        ("🙂.py", "🙂"),
    ],
)
def test_a_student_is_the_beginning_of_the_entrys_name(name, student):
    assert student_of(name) == student


def test_a_name_that_is_shown_can_be_printed_whatever_is_in_it():
    for name in ("a\nb", "\x1b[2J", "\u202egpj.py", os.fsdecode(b"\xff\xfe.py"), "🙂 ä"):
        visible(name).encode("utf-8")
        assert visible(name).isprintable()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other special files")
def test_a_link_a_pipe_and_a_socket_are_refused_and_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    (tmp_path / "dangling.py").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.py")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.py")
        for name in ("link.py", "dangling.py", "pipe.py", "socket.py"):
            assert read(tmp_path, name).status == "refused", name
    assert "symbolic link to /etc/passwd" in read(tmp_path, "link.py").reason


@pytest.mark.parametrize("what", ["a file", "a folder", "a pipe"])
def test_a_folder_with_anything_special_in_it_is_refused(tmp_path, what):
    (tmp_path / "ada" / "deep").mkdir(parents=True)
    (tmp_path / "ada" / EX1.file).write_text(SOLUTION)
    place = tmp_path / "ada" / "deep" / "helper.py"
    if what == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/etc/passwd" if what == "a file" else "/etc")
    found = read(tmp_path, "ada")
    assert found.status == "refused" and "deep/helper.py" in found.reason


def test_an_environment_in_a_hand_in_is_not_looked_at(tmp_path):
    venv = tmp_path / "ada" / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "ada" / EX1.file).write_text(SOLUTION)
    assert read(tmp_path, "ada").status == ""


@pytest.mark.parametrize(
    "data, status, words",
    [
        (packed({"../ex1.py": "x"}), "refused", "leads out"),
        (packed({"/ex1.py": "x"}), "refused", "leads out"),
        (packed({"ex1.py": "/etc/passwd"}, links=("ex1.py",)), "refused", "symbolic link"),
        (packed({"a.py": "0" * (20 << 20)}), "refused", "bytes"),
        (packed({f"{n}.py": "" for n in range(1001)}), "refused", "1,001 files"),
        (packed({"a/" + EX1.file: SOLUTION, "b/" + EX1.file: SOLUTION}), "not_gradable", f"b/{EX1.file}"),
        (packed({"notes.txt": "x"}), "not_gradable", "has none"),
        (b"PK\x03\x04 broken", "not_gradable", "cannot be unpacked"),
        (packed({EX1.file: SOLUTION, "helper.py": "x = 1"}), "", ""),
    ],
)
def test_a_zip_is_read_within_limits(tmp_path, data, status, words):
    (tmp_path / "ada.zip").write_bytes(data)
    found = read(tmp_path, "ada.zip")
    assert (found.status, words in found.reason) == (status, True)


def test_two_files_that_could_both_be_meant_are_both_named(tmp_path):
    for name in ("first.py", "second.py"):
        (tmp_path / "ada").mkdir(exist_ok=True)
        (tmp_path / "ada" / name).write_text(SOLUTION)
    found = read(tmp_path, "ada")
    assert found.status == "not_gradable"
    assert "first.py" in found.reason and "second.py" in found.reason


def test_a_zip_alone_in_a_students_folder_is_the_hand_in(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "work.zip").write_bytes(packed({"mine.py": SOLUTION}))
    assert read(tmp_path, "ada").status == ""


def test_what_is_no_hand_in_has_a_reason(tmp_path):
    for name, data in {
        "scan.py": b"%PDF-1.7", "readme.txt": b"hello", ".DS_Store": b"\0", "marks.csv": b"a,b", "data": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        found = read(tmp_path, name)
        assert found.status == "not_gradable" and found.reason, name
    (tmp_path / "mine.txt").write_text(SOLUTION)
    assert read(tmp_path, "mine.txt").status == ""


def test_the_digest_is_of_all_that_was_handed_in(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / EX1.file).write_text(SOLUTION)
        (tmp_path / name / "helper.py").write_text("x = 1")
    assert read(tmp_path, "one").digest == read(tmp_path, "two").digest
    (tmp_path / "two" / "helper.py").write_text("x = 2")
    assert read(tmp_path, "one").digest != read(tmp_path, "two").digest


def test_the_same_bytes_are_another_hand_in_where_they_are_read_in_another_way(tmp_path):
    for name in ("a.py", "a.ipynb"):
        (tmp_path / name).write_text("{}")
    assert read(tmp_path, "a.py").digest != read(tmp_path, "a.ipynb").digest


# Rosters.


def listed(tmp_path, names, roster):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    (tmp_path / "roster.csv").write_bytes(roster if isinstance(roster, bytes) else roster.encode())
    return list_entries(folder, tmp_path / "roster.csv")


def test_a_roster_adds_those_who_handed_in_nothing(tmp_path):
    found = listed(
        tmp_path, ["17_x.py", "b.py"], "student,name,entry\n17,Ada,17_x.py\n18,Bob,b.py\n19,Cy,c.py\n"
    )
    assert [(entry.student, entry.full_name, entry.name) for entry in found] == [
        ("17", "Ada", "17_x.py"), ("18", "Bob", "b.py"), ("19", "Cy", ""),
    ]  # fmt: skip
    assert "c.py" in found[2].note


def test_a_roster_without_entries_finds_a_student_by_the_names_beginning(tmp_path):
    found = listed(tmp_path, ["ADA_ex1.py", "mallory.py"], "Student;Name\nada;Lovelace, Ada\n")
    assert found == [
        Entry("ada", "ADA_ex1.py", "Lovelace, Ada"),
        Entry("mallory", "mallory.py", note="not in the roster"),
    ]


def test_a_pair_may_hand_in_one_file(tmp_path):
    found = listed(tmp_path, ["team.py"], "student,name,entry\na,A,team.py\nb,B,team.py\n")
    assert [(entry.student, entry.name) for entry in found] == [("a", "team.py"), ("b", "team.py")]


def test_an_umlaut_is_found_in_either_of_its_two_forms(tmp_path):
    found = listed(tmp_path, ["jo\u0308rg.py"], "student,name,entry\nj\u00f6rg,J,j\u00f6rg.py\n")
    assert found[0].name == "jo\u0308rg.py" and len(found) == 1


@pytest.mark.parametrize(
    "roster, words", [("", "needs student"), ("id,name\n1,A\n", "needs student"), (b"student\n\xff", "UTF-8")]
)
def test_a_roster_that_is_none_is_refused_in_one_sentence(tmp_path, roster, words):
    with pytest.raises(UsageError, match=words):
        listed(tmp_path, [], roster)


def test_a_roster_in_the_folder_is_no_hand_in(tmp_path):
    (tmp_path / "roster.csv").write_text("student,name,entry\nada,A,ada.py\n")
    (tmp_path / "ada.py").touch()
    assert [entry.name for entry in list_entries(tmp_path, tmp_path / "roster.csv")] == ["ada.py"]
