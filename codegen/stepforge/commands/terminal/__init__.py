"""What commands print: streams, tables, reports."""
