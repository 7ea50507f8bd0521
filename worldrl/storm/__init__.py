"""An object-centric world model with categorical latents and a spatial-temporal transformer (OC-STORM)."""
