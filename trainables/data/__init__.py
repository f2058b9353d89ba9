"""From a folder of tagged pictures to uint8 arrays and labels."""
