"""The corpus ZPPO-77K: sources, rows, near-duplicates, build and card."""
