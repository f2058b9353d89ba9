"""Everything that subclasses Ray Tune."""
