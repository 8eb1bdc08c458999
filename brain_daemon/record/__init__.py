"""What is left behind: result, ledger, usage, board, questions, and the commits that carry them."""
