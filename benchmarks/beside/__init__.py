"""What torch does and what we do, line by line."""
