"""Pictures: one look, curves over epochs, drawings of networks. They are given numbers and compute none."""
