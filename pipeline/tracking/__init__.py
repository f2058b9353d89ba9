"""What a running sweep writes to MLflow."""
