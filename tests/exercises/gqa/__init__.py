"""Grouped-query attention, of the menu: its checks, looks, mistakes, hints and sheet."""
