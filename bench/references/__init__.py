"""What Mediakeep is compared with. Each runs as a process of its own; nothing of it is imported here."""
