"""After a sweep: MLflow to one tidy table, ranking, statistics, images. Imports nothing of ours."""
