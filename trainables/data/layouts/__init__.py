"""One reader for each layout of labelled images; ``registry`` lists them in the order in which they are tried."""
