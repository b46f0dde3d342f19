"""What a MODEL or a CONTROL_NET with adapters does during a run."""
