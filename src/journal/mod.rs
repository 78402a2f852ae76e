//! The append-only record of runs; a run's state is a fold of its events.
