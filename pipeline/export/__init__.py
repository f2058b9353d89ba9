"""Write the winner's folder and its model card."""
