"""`python3 run.py gpu`: what a card adds is checked, and measured, in one run of less than ten minutes."""
