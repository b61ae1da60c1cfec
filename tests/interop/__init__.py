"""Our conversions held against the real readers, and the truth they are held against."""
