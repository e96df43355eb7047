"""What one process needs of its machine: background work, killable workers, shared memory."""
