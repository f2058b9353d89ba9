"""Recorded learning curves replayed through samplers and stopping rules, with a clock that only counts."""
