"""Libraries that train with the generated classes; run as `pytest tests/clients`."""
