"""A tiny Stable-Diffusion-shaped model with its T2I-Adapters: made, measured and used here, never shipped to users."""
