"""What every unit of a kind must pass: batteries of checks (module.py, attention.py, dropout.py), and what they look at in a
worker (module_looks.py, attention_looks.py)."""
