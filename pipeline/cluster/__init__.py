"""Ray's nodes, the memory of trials, and how trials are placed on them."""
