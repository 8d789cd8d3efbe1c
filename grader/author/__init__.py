"""What somebody who changes the workbook runs: the proof of the checks, the list of mistakes, the
notebook."""
