"""What every unit of a kind must pass, whatever the exercise: any module (module.py), any attention
(attention.py, dropout.py), functions (function.py; of a matrix: matrix.py), optimizers (optimizer.py), whole
models (model.py), training runs (training.py); and what they look at in a worker, in plain torch
(*_looks.py).

An exercise declares its unit, takes the checks, and adds its own:

    UNIT = Attention(name="FusedMultiHeadAttention", ..)
    globals().update(checks_of(UNIT, (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS)))
"""
