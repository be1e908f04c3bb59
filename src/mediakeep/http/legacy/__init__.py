"""The dialect that `/api/v2` spoke before, below the base address `/legacy`: same assets, same rules, other shape."""
