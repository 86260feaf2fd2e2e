"""Pictures: curves over epochs and drawings of networks, in one look.

They have a wing of their own so that the look is decided once and no number is made here: functions take arrays and
axes, which anybody's results can fill, or a network, and compute nothing.
"""
