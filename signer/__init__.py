"""Who vouches for a chunk manifest: keys, envelopes, what gets attached, and the check of all of it."""
