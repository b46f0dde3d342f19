"""Load the files that users choose into networks whose memory ComfyUI manages."""
