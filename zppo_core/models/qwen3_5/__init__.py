"""Qwen3.5's text stack with shared prefixes: attention, gated delta rule, packed rows."""
