"""How well pictures follow their conditions, and their quality: the paper's claims, tested on the miniature."""
