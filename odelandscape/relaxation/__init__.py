"""Many starts followed to certified end states."""
