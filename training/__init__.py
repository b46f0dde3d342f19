"""Training of T2I-Adapters: plain torch, built on the adapter library. Knows nothing of ComfyUI."""
