from tests.exercises import Exercise

Exercise(
    name="rmsnorm",
    title="RMSNorm: a norm without a mean",
    file="rmsnorm.py",
    asks=("RMSNorm: each token divided by the root mean square of its channels",),
    checks=(
        "runs", "parameters", "trainable", "output", "values", "epsilon", "gradients", "batch_rows", "calls",
        "layouts", "input_kept", "dtypes", "bfloat16", "in_gpt",
    ),
)  # fmt: skip
