"""The demo: pictures from the real ComfyUI, without and with a T2I-Adapter, side by side."""
