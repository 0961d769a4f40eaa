"""The generated files that are verified: found, inspected, and imported afresh."""
