"""What the module SPR Registration is made of; only `widget`, `process`, `install` and `panel_*` know Qt."""
