"""Users, sign-ins and API keys: who asks, and how often they may."""
