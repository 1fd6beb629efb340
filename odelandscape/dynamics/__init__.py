"""One start in time: trajectories, their solver, finite networks and ensembles of them."""
