"""What the training nodes and the command share."""
