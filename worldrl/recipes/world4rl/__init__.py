"""World4RL's experiment as a grid of resumable jobs: data, shared world models, cells, report."""
