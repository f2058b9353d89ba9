"""The training loop and the inputs of its steps."""
