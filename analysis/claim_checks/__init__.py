"""The claims of the source reports, and a verdict on each from a sweep's trials."""
