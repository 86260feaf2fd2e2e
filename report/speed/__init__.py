"""How fast it is: contenders that take turns, their memory, and what they measured in tables."""
