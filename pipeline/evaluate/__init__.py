"""`gansweep score`: compare any two folders of images."""
