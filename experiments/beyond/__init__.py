"""Questions beyond the paper."""
