"""Real images from package registries: built, converted, checked, mounted and run; `docs/images.md`."""
