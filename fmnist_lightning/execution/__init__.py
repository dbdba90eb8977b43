"""Trains planned runs, several at a time, and keeps those that are completed: reproduction and leaderboard share it."""
