"""`python3 run.py gpu`: test and benchmark on a GPU in less than ten minutes."""
