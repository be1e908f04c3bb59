"""Questions that go across features; nothing here changes anything."""
