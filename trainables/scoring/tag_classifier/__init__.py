"""The tag classifier that is trained on real images only."""
