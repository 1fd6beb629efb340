"""Figures and tables of the paper (arXiv:2604.09412)."""
