"""The command that trains T2I-Adapters on large data sets; `cli/__main__.py` runs it."""
