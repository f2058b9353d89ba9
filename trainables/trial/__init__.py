"""One trial from its parameters to its results; `ray_trainable` alone imports Ray."""
