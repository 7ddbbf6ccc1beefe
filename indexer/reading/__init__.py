"""Read files and rows in memory into items: bytes, records, fields, rejects."""
