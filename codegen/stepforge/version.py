"""The version of stepforge, which `build` writes into manifests."""

__version__ = "0.1.0"
