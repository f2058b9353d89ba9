"""MLflow's model registry, promotion and serving."""
