"""Around a sweep: settings, search, launch, tracking, export, command line."""
