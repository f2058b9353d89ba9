"""Draw and translate images with an export."""
