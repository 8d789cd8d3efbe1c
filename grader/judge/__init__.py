"""The process that judges: it draws cases, asks the workers, compares, and names mistakes. It never imports
torch."""
