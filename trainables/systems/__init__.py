"""How networks and losses make one GAN system."""
