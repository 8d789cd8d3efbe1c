"""`python -m grader.mistake_list` writes the list of common mistakes into README.md, from the catalogue."""

from grader.processes import REPOSITORY
from tests.exercises import EXERCISES

BEGIN, END = "<!-- mistakes: python -m grader.mistake_list -->\n", "<!-- end of mistakes -->"


def mistake_list() -> str:
    """The list as Markdown, a foldable section per exercise."""
    sections = []
    for exercise in EXERCISES.values():
        lines = [f"- **{mistake.name}.** {mistake.why}" for mistake in exercise.mistakes()]
        head = f"<details><summary>{exercise.name}, {exercise.title}: {len(lines)} mistakes</summary>\n\n"
        sections.append(head + "\n".join(lines) + "\n\n</details>\n")
    return "\n".join(sections)


def with_list(readme: str) -> str:
    """The text of README.md with the list as it is now."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + mistake_list() + END + rest.split(END)[1]


def main() -> None:
    path = REPOSITORY / "README.md"
    path.write_text(with_list(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
