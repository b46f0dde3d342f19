"""What all our packages share: errors, weights files, checks and fingerprints, on torch and the standard library."""
