"""What cures each pain, and the proof that its tests know: the cure is taken out of a copy of the source, and they must fail."""
