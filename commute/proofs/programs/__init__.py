"""Programs: what a network computes from its numbers, in steps simple enough to bound, to prove and to check."""
