"""Properties that hold for every image, tried with many that nobody thought of."""
