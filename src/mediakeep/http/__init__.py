"""What the surfaces share; each surface is a folder of its own and never imports another."""
