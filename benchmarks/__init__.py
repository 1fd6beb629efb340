"""What odelandscape costs, beside what one would otherwise write. See README.md."""
