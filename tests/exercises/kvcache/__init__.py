"""The KV cache, of the menu: its checks, looks, mistakes, hints and sheet."""
