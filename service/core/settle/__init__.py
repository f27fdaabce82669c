"""Write outcomes, and commit them together with the positions."""
