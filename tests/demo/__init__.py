"""`make demo`: the main job of the project, on real parts, in front of one's eyes."""
