from tests.exercises import Exercise, ids

Exercise(
    name="mynorm",
    title="RMSNorm: a norm without a mean",
    file="mynorm.py",
    asks=("RMSNorm: each token divided by the root mean square of its channels",),
    checks=ids(
        """runs parameters trainable output values epsilon gradients batch_rows calls layouts input_kept
        dtypes bfloat16 devices in_gpt"""
    ),
)
