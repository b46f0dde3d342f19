"""What annotator nodes share: sizes, networks and their files, downloads."""
