//! The only room that knows planner, worker, plan and strategy.
