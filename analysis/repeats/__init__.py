"""Statistics of repeated seeds: confirmations and ablations."""
