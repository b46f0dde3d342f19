"""The annotators' networks: written here (PiDiNet, HED, lineart), or built by transformers."""
