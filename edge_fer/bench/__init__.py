"""Diagnostics: what a frame costs on this machine, by stage, by camera and by runtime.

CPU times, not wall times: on a shared machine only they repeat. Compare figures of one run with each other.
"""
