"""What crosses a process, by Ray: update ranks and engines as actors, on one node or several."""
