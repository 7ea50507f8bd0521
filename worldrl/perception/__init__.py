"""What is where: boxes, masks and cuboids found on frozen features."""
