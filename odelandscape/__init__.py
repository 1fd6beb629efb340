"""odelandscape: know the loss landscape of a two-layer teacher-student network."""
