"""The HTML report, its sections and the sweep's page in MLflow."""
