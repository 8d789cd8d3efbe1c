"""The corpora and problems that the models learn from."""
