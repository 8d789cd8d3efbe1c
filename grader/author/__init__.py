"""For authors of the workbook: the proof of the checks, the list of mistakes, the notebook."""
