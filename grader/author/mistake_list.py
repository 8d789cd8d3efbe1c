"""`python -m grader.author.mistake_list` writes the pages of known mistakes, docs/mistakes/, from the
catalogues."""

from itertools import groupby

from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES

FOLDER = REPOSITORY / "docs" / "mistakes"


def pages() -> dict[str, str]:
    """Markdown by file name, a page for each exercise. A mistake of two exercises stands on the first one's
    page."""
    made, listed = {}, {}
    for exercise in EXERCISES.values():
        mistakes = exercise.mistakes()
        lines = [
            f"# {exercise.name}: {len(mistakes)} known mistakes",
            "",
            f"Exercise {exercise.name}, {exercise.title}. The grader names these mistakes. Each of them is a "
            f"hint at the",
            "solution, so try the exercise first. The [README](../../README.md) says how.",
            "",
            "This page is made from the catalogue with `python -m grader.author.mistake_list`. Do not edit "
            "it by hand.",
        ]
        for area, group in groupby(
            (mistake for mistake in mistakes if mistake not in listed), lambda mistake: mistake.area
        ):
            lines += ["", f"## The checks `{area}_..`"] * bool(area) + [""]
            lines += [f"- **{mistake.name}.** {mistake.why}" for mistake in group]
        for earlier in dict.fromkeys(listed[mistake] for mistake in mistakes if mistake in listed):
            count = sum(listed.get(mistake) == earlier for mistake in mistakes)
            lines.append(f"- and {count} of the [mistakes of {earlier}]({earlier}.md).")
        listed |= {mistake: exercise.name for mistake in mistakes if mistake not in listed}
        made[f"{exercise.name}.md"] = "\n".join(lines) + "\n"
    return made


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
