"""A run from its configuration to its checkpoints, without Metaflow."""
