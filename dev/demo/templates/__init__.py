"""The files of example_workflows/: how they are laid out, their twins on the miniature, and their thumbnails."""
