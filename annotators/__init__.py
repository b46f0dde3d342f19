"""Condition images from pictures, in plain torch: what the published adapters were trained with."""
