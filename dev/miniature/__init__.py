"""A tiny model shaped like Stable Diffusion, and its T2I-Adapters: for tests and demos, not shipped to users."""
