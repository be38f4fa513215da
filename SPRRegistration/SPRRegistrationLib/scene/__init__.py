"""The nodes of one registration in the scene, and what the views show of them; no Qt."""
