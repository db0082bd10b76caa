"""Walks a plan: schedule, worker pool, engines, progress, and what is finished already."""
