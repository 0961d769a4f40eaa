"""How optimizers are related: equal, equal under conditions, or different."""
