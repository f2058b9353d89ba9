"""Files of a trial: atomic writes, checkpoints, shared folders and S3."""
