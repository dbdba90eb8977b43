"""The leaderboard: named recipes, trained with fresh seeds, their accuracy and seconds."""
