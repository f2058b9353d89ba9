"""Scores as functions of features and images, with their intervals."""
