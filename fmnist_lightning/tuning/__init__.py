"""Hyperparameter search with Optuna. The modules in the order of use.

command_line, space, search: the validated command line; without Optuna and torch
run: a search from start to end
storage, retries: the study, and trials of killed workers
processes, cluster, worker, trial: trains trials
table, results, winner: what is printed and written, and the best trial with other seeds
"""
