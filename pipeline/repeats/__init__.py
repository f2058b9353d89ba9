"""Confirmation and ablation: the same configuration again on fresh seeds."""
