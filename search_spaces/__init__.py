"""What may vary: one file per system, each a complete recipe and the space around it."""
