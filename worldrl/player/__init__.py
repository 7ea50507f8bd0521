"""The player: an imagined environment that is driven by hand or by a policy, live, in a web page of this machine."""

BY_HAND = "you"
"""Who drives where no policy does."""
IMAGINATION, MUJOCO = "imagination", "MuJoCo"
SIGHTS = (IMAGINATION, MUJOCO)
"""What a policy that drives may look at."""
PACES = (1.0, 60.0)
"""Frames a second that may be asked for."""
