"""Figures of sweeps, of families of fixed points and of trajectories; one file for each subject.

Drawing functions take the axes to draw on; a function `…_figure` arranges them as the command line does.
"""
