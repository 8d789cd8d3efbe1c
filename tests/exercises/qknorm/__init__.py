"""QK-norm, of the menu: its checks, mistakes, hints and sheet."""
