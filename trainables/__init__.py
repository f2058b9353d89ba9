"""Inside one trial: data, networks, losses, training, scores."""
