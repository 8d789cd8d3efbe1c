"""The exercises of the menu, solved; to be read after trying."""
