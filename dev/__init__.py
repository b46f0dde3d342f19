"""The workshop: what makes, measures and shows the pack. Nothing here is published."""
