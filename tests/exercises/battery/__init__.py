"""What units of one kind must pass, whatever the exercise: functions, modules, training runs."""
