"""Estimate what a sweep will cost before it starts."""
