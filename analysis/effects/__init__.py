"""What a dimension does to a score: marginal, adjusted, paired and over time."""
