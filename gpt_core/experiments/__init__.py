"""Comparisons: a feature with the baseline, pretraining with none, an adder's answers with the right sums."""
