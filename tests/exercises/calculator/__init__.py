"""The calculator, of the menu: its checks, looks, readings, mistakes, hints and sheet."""
