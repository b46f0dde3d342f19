"""The files of example_workflows/: tidying, running them on the miniature (as "twins"), and thumbnails."""
