"""Support code for the commands: finds ComfyUI, makes its environment, starts its server. Never published."""
