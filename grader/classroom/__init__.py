"""A class: one command grades a folder of hand-ins, goes on where it was stopped, and writes the tables."""
