"""The frozen nouns of planning: volume, anatomy, trajectory, plan, configuration."""
