"""Rate limits: which levels a call counts to, and whether all of them have room for it."""
