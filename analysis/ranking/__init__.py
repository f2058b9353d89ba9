"""Rank trials: filters, Pareto front, table, caveats."""
