"""Compare the images of the best trials by eye, and record blind choices between them."""
