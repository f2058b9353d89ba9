"""The page that draws in a browser."""
