"""The generated optimizer classes, in the manner of torch's own tests of its classes."""
