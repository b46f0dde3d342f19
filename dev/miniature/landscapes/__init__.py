"""Landscapes drawn by a program: scenes by seed, their picture, caption, conditions and truth."""
