"""Files and rows in memory to items: bytes, records, fields, rejects."""
