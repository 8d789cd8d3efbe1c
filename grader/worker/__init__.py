"""What runs beside the code that is graded: looks, what they observe, and the sandbox around an attempt."""
