"""The corpora and problems that the models learn from.

`data.corpora` loads a text by name, `data.toy` writes a small one from a seed, so that everything
runs before the first download.
"""
