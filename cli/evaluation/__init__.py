"""How good adapters are: pictures for held-out samples, their measures, and a report with a table."""
