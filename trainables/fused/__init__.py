"""Training of several trials with equal structure as one batched program."""
