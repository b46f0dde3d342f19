"""How well pictures obey and how good they are: the paper's claims, measured on the miniature."""
