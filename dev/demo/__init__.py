"""The demo: pictures drawn in the real ComfyUI without and with a T2I-Adapter, side by side."""
