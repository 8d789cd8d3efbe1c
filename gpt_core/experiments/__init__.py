"""What compares runs and models: a feature with the baseline, pretraining with none, an adder with the
truth."""
