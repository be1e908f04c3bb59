"""Telling others what happened: subscriptions, and deliveries signed as Standard Webhooks."""
