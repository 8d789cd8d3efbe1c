"""The hints of the calculator, from a nudge to nearly the answer, by the function that they are for."""

HINTS = {
    "": (
        "The six functions build on each other from top to bottom of the file. Write encode first; the "
        "others can go on raising NotImplementedError meanwhile.",
        "Work the examples of the sheet by hand: every character of an answer follows from those before it.",
        "Text first (encode, decode), then make_batch and sample_problems, then calculate, and last "
        "training.",
    )
}
COMPARE = ("how the steps of a division come out of one divmod",)
