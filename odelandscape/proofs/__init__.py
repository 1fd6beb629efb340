"""Fixed points proved in ball arithmetic, as certificates that can be checked."""
