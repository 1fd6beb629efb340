"""Block-symmetric states with few parameters, at any width."""
