"""Pictures of the documentation, and the programs that make them."""
