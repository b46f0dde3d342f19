"""Ratios of this pack to the bare model, to ComfyUI's own T2IAdapter and to diffusers, measured side by side."""
