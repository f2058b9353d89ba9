"""What a sweep will cost, from a few measured updates and scores, before it starts."""
