"""Pictures; one file for each subject."""
