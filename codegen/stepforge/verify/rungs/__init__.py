"""The rungs: one file for each kind of evidence."""
