"""One sweep, from its settings to its last trial."""
