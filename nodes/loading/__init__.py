"""From the files that users choose to networks whose memory ComfyUI manages."""
