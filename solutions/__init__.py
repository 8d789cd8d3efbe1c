"""The same files as in exercises/, solved; to be read after trying."""
