"""What follows from a formula: how its steps scale, their symmetries and bounds, what they cost."""
