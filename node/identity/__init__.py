"""Who may come in, and how fast: tokens, rates, and the gate that asks both."""
