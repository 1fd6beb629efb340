"""Fixed points without sampling: their geometry, their branches, and the search for them."""
