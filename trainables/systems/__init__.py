"""GAN systems, composed of networks and losses."""
