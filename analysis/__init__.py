"""After a sweep: MLflow to one tidy table, ranking, statistics, pictures. Imports nothing of ours."""
