"""The command that trains T2I-Adapters on data sets that outgrow a graph; `cli/__main__.py` runs it."""
