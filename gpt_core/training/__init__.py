"""What a training run is made of, around the loop in `trainer.py`: its settings, its checkpoints, its
commands."""
