"""The hints of weight tying, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "super().__init__ builds both matrices. What has to happen to one of them afterwards?",
        "Assign the Parameter itself to the other module's attribute: torch then lists it once. For the "
        "first loss, print which token has the largest logit in an untrained model.",
        "self.lm_head.weight = self.token_embedding_table.weight is all: what GPT has drawn stays.",
    )
}
COMPARE = ("how the two matrices become one", "how the first loss is kept near ln(V)")
