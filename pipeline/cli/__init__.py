"""Parse command lines and print answers; a command imports the libraries it needs when it runs."""
