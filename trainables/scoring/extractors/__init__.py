"""Feature networks, their weights and the resize that goes with them."""
