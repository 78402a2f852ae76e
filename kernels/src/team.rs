//! Threads that run a step together; an op ends when its chunks are done.
