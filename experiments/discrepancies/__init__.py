"""Where our numbers differ from the published ones, and why."""
