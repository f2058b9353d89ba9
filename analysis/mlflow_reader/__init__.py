"""Read a sweep from MLflow into one tidy table."""
