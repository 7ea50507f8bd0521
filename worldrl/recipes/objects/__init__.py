"""The experiment on objects: what they are worth, to OC-STORM and to diffusion, and what they cost without masks."""
