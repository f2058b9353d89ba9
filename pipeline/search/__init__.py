"""The Optuna side of a sweep: samplers, study, storages, and which of them combine."""
