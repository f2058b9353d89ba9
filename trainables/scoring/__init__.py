"""Frechet distance, tag accuracy and what they need."""
