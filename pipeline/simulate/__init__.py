"""Replay recorded learning curves through other samplers and schedulers."""
