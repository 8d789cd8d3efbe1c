<<<<<<< HEAD
"""What units of one kind must pass, whatever the exercise: functions, modules, training runs."""
=======
"""What every unit of a kind must pass: any module (module.py), any attention (attention.py, dropout.py); and what they look at
in a worker, in plain torch (module_looks.py, attention_looks.py).

An exercise declares its unit, takes the checks, and adds its own:

    UNIT = Attention(name="FusedMultiHeadAttention", ..)
    globals().update(checks_of(UNIT, (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS)))
"""
>>>>>>> 4ae8b6b86ff18bf5bc9512b29378f2a58e0ba6c4
