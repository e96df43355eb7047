"""What crosses a process: update workers, engine processes, hosts and their messages."""
