"""Environments: MuJoCo tasks and a world model as one. Importing this package registers them with gymnasium."""

from worldrl.envs.registration import register_all

register_all()
