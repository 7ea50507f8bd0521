"""The player: an imagined environment that is driven by hand or by a policy, live, in a web page of this machine."""
