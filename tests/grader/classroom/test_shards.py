"""A class in parts: whatever the split, the parts together are the class."""

import pytest

from grader.classroom.files import write
from grader.classroom.shards import folder_of, merged, read_parts, read_shard, shard_of
from grader.classroom.store import Settings, Store
from grader.classroom.summary import Summary
from grader.workbook import UsageError
from tests.grader.classroom.classes import record, result


def test_a_shard_is_one_of_so_many():
    assert read_shard("2/8") == (2, 8)
    for wrong in ("0/3", "4/3", "x", "1", "1/", "-1/3", "1/0", "1.5/2", "1/2/3"):
        with pytest.raises(UsageError, match="--shard"):
            read_shard(wrong)


@pytest.mark.parametrize(
    "variables, shard",
    [
        ({}, (1, 1)),
        ({"ID": "0", "COUNT": "4", "MIN": "0"}, (1, 4)),
        ({"ID": "4", "COUNT": "4", "MIN": "1"}, (4, 4)),
        ({"ID": "7", "COUNT": "3", "MIN": "1", "STEP": "3"}, (3, 3)),
        ({"ID": "7", "COUNT": "2", "MIN": "3"}, None),  # --array=3,7
        ({"ID": "x", "COUNT": "2"}, None),
    ],
)
def test_a_task_of_a_slurm_array_takes_its_part(variables, shard):
    environment = {f"SLURM_ARRAY_TASK_{name}": value for name, value in variables.items()}
    if shard:
        assert shard_of(environment) == shard
    else:
        with pytest.raises(UsageError, match="--shard"):
            shard_of(environment)


CLASS = [
    result("ada", "ada.py", record(), "a" * 40),
    result("bob", "bob.py", record("scale", mistakes=["no_scale"]), "b" * 40),
    result("bob", "bob_2.py", record("scale", mistakes=["no_scale"]), "b" * 40),
    result("cy"),
    result("dee", "dee.py", record(), "a" * 40),
]


def written(out, shard, results=CLASS, **options):
    """A part's folder of results as a grade would leave it."""
    number, of = shard
    folder, part = folder_of(out, shard), results[number - 1 :: of]
    store = Store(folder / "verdicts")
    for one in part:
        if one.key:
            store.keep(one.key, one.record)
    write(folder, Summary(Settings("ex1"), part, {}, shard, len(results), **options))
    return folder


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_the_parts_together_are_the_class_however_it_was_split(tmp_path, of):
    parts = [written(tmp_path / "split", (number, of)) for number in range(1, of + 1)]
    whole, together = written(tmp_path / "whole", (1, 1)), tmp_path / "together"
    together.mkdir()
    write(together, merged(read_parts(parts[::-1]), together))
    for name in ("summary.csv", "junit.xml", "summary.json", "report.html"):
        assert (together / name).read_text() == (whole / name).read_text(), name
    for folder in ("feedback", "verdicts"):
        assert {p.name: p.read_text() for p in (together / folder).iterdir()} == {
            p.name: p.read_text() for p in (whole / folder).iterdir()
        }


def test_the_folder_of_all_parts_stands_for_them(tmp_path):
    for number in (1, 2):
        written(tmp_path, (number, 2))
    assert [one.entry for one in merged(read_parts([tmp_path]), tmp_path).results] == [
        one.entry for one in CLASS
    ]


def test_parts_that_are_not_a_whole_class_are_refused(tmp_path):
    one, two = (written(tmp_path / "a", (number, 3)) for number in (1, 2))
    with pytest.raises(UsageError, match="missing: 3"):
        read_parts([one, two])
    other = written(tmp_path / "b", (1, 1))
    with pytest.raises(UsageError, match="not split alike"):
        read_parts([one, other])
    three = written(tmp_path / "a", (3, 3), stopped=True)
    with pytest.raises(UsageError, match="stopped"):
        read_parts([one, two, three])
    more = written(tmp_path / "c", (3, 3), [*CLASS, result("eve"), result("fay")])
    with pytest.raises(UsageError, match="added"):
        read_parts([one, two, more])
    with pytest.raises(UsageError, match="no summary.json"):
        read_parts([tmp_path / "nothing"])


def test_a_verdict_that_is_lost_is_not_passed_over(tmp_path):
    folder = written(tmp_path / "a", (1, 1))
    (folder / "verdicts" / f"{'a' * 40}.json").write_text("{}")
    with pytest.raises(UsageError, match="lacks the verdict"):
        merged(read_parts([folder]), tmp_path / "out")
