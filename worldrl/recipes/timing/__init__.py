"""How fast everything is on this machine, and how far from what it could be: the parts of ``worldrl bench``."""
