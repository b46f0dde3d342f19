"""The workshop: tools that test, measure and demonstrate the pack. Nothing here is published."""
