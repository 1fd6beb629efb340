"""Questions to the landscape, each a command that prints a table and draws a figure. See README.md."""
