"""The method of the paper: Algorithm 1 and its parts (sections 3 to 5)."""
