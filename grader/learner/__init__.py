"""What a person sees: the report, hints, the watch, their own files and progress, a failing case as a
script."""
