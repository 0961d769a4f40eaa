"""From files to a certificate: `driver` runs every rung on the files on disk."""
