"""Episodes: recorded, stored, cut into windows, replayed."""
