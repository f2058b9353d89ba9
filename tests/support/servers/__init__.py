"""Local servers and browsers that tests start."""
