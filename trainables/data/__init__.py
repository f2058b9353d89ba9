"""From a folder of tagged images to uint8 arrays and labels."""
