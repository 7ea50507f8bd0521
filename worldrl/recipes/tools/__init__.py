"""Tools: what looks after folders that exist, rather than making new ones. Each takes the words behind its verb."""
