"""What a brain knows: the pool, handoffs, and the context of a prompt."""
