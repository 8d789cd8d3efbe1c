"""`python -m grader.author.mistake_list` writes the list of common mistakes into README.md, from the catalogue."""

from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES

BEGIN, END = "<!-- mistakes: python -m grader.author.mistake_list -->\n", "<!-- end of mistakes -->"


def mistake_list() -> str:
    """The list as Markdown, a foldable section per exercise; what two share stands with the first."""
    sections, listed = [], {}
    for exercise in EXERCISES.values():
        mistakes = exercise.mistakes()
        lines = [f"- **{mistake.name}.** {mistake.why}" for mistake in mistakes if mistake not in listed]
        for earlier in dict.fromkeys(listed[mistake] for mistake in mistakes if mistake in listed):
            count = sum(listed.get(mistake) == earlier for mistake in mistakes)
            lines.append(f"- and {count} of the mistakes of {earlier}.")
        listed |= {mistake: exercise.name for mistake in mistakes if mistake not in listed}
        head = f"<details><summary>{exercise.name}, {exercise.title}: {len(mistakes)} mistakes</summary>\n\n"
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
