"""Where a finished blob rests, and how peers find it."""
