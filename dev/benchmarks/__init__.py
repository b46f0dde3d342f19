"""Benchmarks of this pack against the bare model, ComfyUI's own T2IAdapter and diffusers, measured side by side."""
