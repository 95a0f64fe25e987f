"""The study on a Slurm cluster: DVC's own graph as jobs, Slurm as their scheduler, DVC's run cache as the way back.

`worldwidth slurm plan | submit | status | collect`; each job is `worldwidth slurm work`.
"""
