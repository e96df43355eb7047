"""The result database, and every table, figure and comparison that is read from it."""
